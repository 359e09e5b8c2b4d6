//! Writes the corpus of every target anew, from the recorded conversations.

#[path = "../../tests/session/client.rs"]
#[allow(dead_code)]
mod client;
#[path = "../../tests/session/recordings.rs"]
#[allow(dead_code)]
mod recordings;
#[path = "../seed/script.rs"]
#[allow(dead_code)]
mod script;
#[path = "../../tests/session/transcript.rs"]
#[allow(dead_code)]
mod transcript;
#[path = "../../tests/session/world.rs"]
#[allow(dead_code)]
mod world;

use std::path::Path;
use std::{fs, io};

use client::Event;
use recordings::Recording;

fn main() -> io::Result<()> {
    for Recording {
        name,
        world,
        script: events,
    } in recordings::ALL.iter()
    {
        write("session", name, &script::encode(number(world), events))?;
        if let (true, Some(Event::Bytes(first))) = (name.starts_with("proxy_"), events.first()) {
            write("proxy_header", name, &[&[3], first.as_slice()].concat())?;
        }
    }
    let v6 = b"PROXY TCP6 2001:db8::1 2001:db8::2 40000 25565\r\n";
    write("proxy_header", "proxy_v1_six", &[&[1], v6.as_slice()].concat())?;

    let cookie = recordings::cookie(world::BIRTH, world::setup().peer);
    write("cookie", "authentication", &recordings::alices_cookie())?;
    write("cookie", "authentication_json", &serde_json::to_vec(&cookie)?)?;
    write("cookie", "session", recordings::VISIT)?;

    let texts = [
        ("plain", r#""Hello""#),
        (
            "styled",
            r##"{"text":"Hello","color":"#ff8800","bold":true,"extra":["a",{"text":"b"}]}"##,
        ),
        (
            "list",
            r#"["a",1,2.5,null,{"translate":"key","with":[1,"x",{"text":"y"}]}]"#,
        ),
        (
            "numbers",
            r#"{"text":"","numbers":[1,-1,2147483648,9223372036854775807,1e300]}"#,
        ),
        ("odd", "\"\\u0000\\ud83d\\ude00\u{e9}\""),
        ("invalid", "no JSON {"),
    ];
    for (name, text) in texts {
        write("text_nbt", name, text.as_bytes())?;
    }
    Ok(())
}

/// The world of the corpus that is most like the recording's.
fn number(world: &world::World) -> u8 {
    let alike = |other: &world::World| {
        std::mem::discriminant(&other.plan) == std::mem::discriminant(&world.plan)
            && format!("{:?}", other.plan) == format!("{:?}", world.plan)
            && other.setup.proxy == world.setup.proxy
            && other.target == world.target
    };
    let number = script::worlds().iter().position(alike).unwrap_or(0);
    u8::try_from(number).unwrap_or(0)
}

fn write(target: &str, name: &str, input: &[u8]) -> io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(name), input)
}

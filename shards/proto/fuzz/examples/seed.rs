//! Writes the corpus of every target anew, from the recorded conversations and some texts.

use std::path::Path;
use std::{fs, io};

const TEXTS: [(&str, &str); 7] = [
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
    ("wrapped", r#"[{"":"a"},{"":"b"}]"#),
    ("invalid", "no JSON {"),
];

fn main() -> io::Result<()> {
    for (target, name, input) in passage_proto_fuzz::seeds() {
        write(target, name, &input)?;
    }
    for (name, text) in TEXTS {
        write("text_nbt", name, text.as_bytes())?;
    }
    let v6 = b"\x01PROXY TCP6 2001:db8::1 2001:db8::2 40000 25565\r\n";
    write("proxy_header", "proxy_v1_six", v6)
}

fn write(target: &str, name: &str, input: &[u8]) -> io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(name), input)
}

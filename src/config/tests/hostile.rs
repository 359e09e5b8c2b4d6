//! Configurations that nobody meant to write: whatever stands in the file or in the environment, loading it
//! ends in a configuration or in problems that can be read, and never in a panic.

use std::fmt::Write as _;
use std::ops::Range;
use std::path::PathBuf;

use super::choices::{Choices, play_seeds};
use super::{BUILT_IN, read, wrong};

/// What stands where something else belongs.
const VALUES: [&str; 40] = [
    r#""""#,
    "-1",
    "0",
    "1",
    "1e400",
    "-0.0",
    "nan",
    "inf",
    "9223372036854775807",
    "9223372036854775808",
    "0x7fffffffffffffff",
    "-170141183460469231731687303715884105729",
    "[]",
    "[[[[[[]]]]]]",
    "{}",
    "{ a = { b = { c = [1, {}] } } }",
    "true",
    "1979-05-27T07:32:00Z",
    r#""\u0000""#,
    r#""\U0010FFFF ü ß""#,
    r#""/(((((/""#,
    r#""/^[a-z]{1000}{1000}$/""#,
    r#""/""#,
    r#""*.*.*""#,
    r#""[::1]:99999""#,
    r#""[::""#,
    r#""0.0.0.0/0""#,
    r#""::/129""#,
    r#""http://[""#,
    r#""https://@""#,
    r#""https://a:b@c""#,
    r#""{{{{player}""#,
    r#""base64,AAAA""#,
    r#""data:image/png;base64,iVBORw0KGgo=""#,
    r#"["a", 1, true, [], {}]"#,
    r#"[{}, {}, { identifier = "a" }]"#,
    r#""00000000-0000-0000-0000-000000000000""#,
    r#""relay""#,
    r#""grpc""#,
    "'''",
];

/// A file and variables that the decisions make of the shipped ones.
pub(super) struct Hostile {
    text: String,
    variables: Vec<(String, String)>,
}

impl Hostile {
    fn new(shipped: &[String], choices: &mut Choices) -> Self {
        let mut lines: Vec<String> = choices.one_of(shipped).lines().map(str::to_owned).collect();
        if choices.once_in(3) {
            lines.extend(choices.one_of(shipped).lines().map(str::to_owned));
        }
        let names = names(&lines);
        for _ in 0..choices.below(8) {
            damage(&mut lines, choices);
        }
        let mut text = lines.join("\n");
        if choices.once_in(16) {
            let cut = usize::try_from(choices.below(text.len() as u64 + 1)).unwrap();
            text.truncate(text.floor_char_boundary(cut));
        }
        let variables = (0..choices.below(5)).map(|_| {
            let name = choices.one_of(&names);
            let value = choices.one_of(&VALUES);
            let bare = choices.once_in(2);
            let value = if bare { value.trim_matches('"') } else { value };
            (name, value.replace('\0', ""))
        });
        Self {
            variables: variables.collect(),
            text,
        }
    }

    fn load(&self) -> bool {
        let variables: Vec<_> = self
            .variables
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        match read(&self.text, &variables) {
            Ok(loaded) => {
                assert!(!format!("{:?}", loaded.config).is_empty());
                true
            }
            Err(problems) => {
                assert!(!problems.all().is_empty(), "refused without a reason");
                for problem in problems.all() {
                    assert!(
                        !problem.allowed.is_empty(),
                        "{problem} says nothing of what is allowed"
                    );
                }
                false
            }
        }
    }
}

/// One thing that goes wrong with a file.
fn damage(lines: &mut Vec<String>, choices: &mut Choices) {
    if lines.is_empty() {
        return;
    }
    let at = usize::try_from(choices.below(lines.len() as u64)).unwrap();
    let other = usize::try_from(choices.below(lines.len() as u64)).unwrap();
    match choices.below(8) {
        0..=2 => {
            let uncommented = lines[at].trim_start_matches(['#', ' ']).to_owned();
            let key = uncommented.split('=').next().unwrap_or_default().trim();
            lines[at] = format!("{key} = {}", choices.one_of(&VALUES));
        }
        3 => lines[at] = lines[at].trim_start_matches(['#', ' ']).to_owned(),
        4 => drop(lines.remove(at)),
        5 => {
            let copy = lines[at].clone();
            lines.insert(other, copy);
        }
        6 => lines.swap(at, other),
        _ => {
            let place = usize::try_from(choices.below(lines[at].len() as u64 + 1)).unwrap();
            let place = lines[at].floor_char_boundary(place);
            let odd = choices.one_of(&["\"", "[", "]", "=", "\u{0}", "é", ".", "{", "\\", "#", ","]);
            lines[at].insert_str(place, odd);
        }
    }
}

/// The variables of the keys that a file has or shows.
fn names(lines: &[String]) -> Vec<String> {
    let mut section = String::new();
    let mut names = vec!["PASSAGE_TIMEOUT".to_owned()];
    for line in lines {
        let line = line.trim_start_matches(['#', ' ']);
        if let Some(title) = line.strip_prefix('[') {
            section.clear();
            let title = title
                .trim_start_matches('[')
                .split(']')
                .next()
                .unwrap_or_default();
            let _ = write!(section, "{}_", title.replace('.', "_").to_uppercase());
        } else if let Some((key, _)) = line.split_once('=') {
            names.push(format!("PASSAGE_{section}{}", key.trim().to_uppercase()));
        }
    }
    names
}

/// The texts of the built-in configuration and of all examples.
fn shipped() -> Vec<String> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("config/examples");
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    let examples = paths.iter().map(|path| std::fs::read_to_string(path).unwrap());
    std::iter::once(BUILT_IN.to_owned()).chain(examples).collect()
}

fn play_share(share: Range<u64>) {
    let shipped = shipped();
    let (mut loaded, mut refused) = (0, 0);
    play_seeds(share, |choices| {
        if Hostile::new(&shipped, choices).load() {
            loaded += 1;
        } else {
            refused += 1;
        }
    });
    let alone = std::env::var_os("SIMULATION_SEED").is_some();
    assert!(
        alone || loaded > 0 && refused > 0,
        "{loaded} loaded, {refused} refused"
    );
}

#[test]
fn no_damaged_configuration_breaks_its_reader() {
    play_share(0..3_000);
}

#[test]
fn a_secret_file_without_an_end_is_not_read_to_its_end() {
    let problems = wrong("", &[("AUTH_SECRET_FILE", "/dev/zero")]);
    assert_eq!(problems.len(), 1, "{problems:?}");
    let expected = "/dev/zero | auth_secret | more than 65536 bytes | a secret file";
    assert!(problems[0].starts_with(expected), "{problems:?}");
}

#[test]
fn what_others_wrote_moves_no_cursor() {
    let text = "\"\\u001b[2J\" = 1\n[localization.messages.de]\n\"\\u0007\" = \"x\"";
    let problems = read(text, &[]).unwrap_err().to_string();
    assert!(
        problems.contains("\\u{1b}[2J") && !problems.contains('\u{1b}'),
        "{problems:?}"
    );
    let (_, words) = text.split_once('\n').unwrap();
    let warnings = read(words, &[]).unwrap().warnings;
    assert!(warnings[0].contains("messages.de.\\u{7}"), "{warnings:?}");
}

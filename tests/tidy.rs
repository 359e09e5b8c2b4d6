//! Repository rules that no compiler checks, so that they are a test and not a wish.
//!
//! The walk starts at the checkout's root and leaves out what is built or installed there. Every rule
//! collects all of its findings before it fails, each as `path:line: what is wrong, what to do`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Characters in a line of code.
const LINE_CHARS_MAX: usize = 110;
/// Lines in a file of code.
const FILE_LINES_MAX: usize = 500;
/// What is built or installed inside of the checkout, and is not ours.
const NOT_OURS: [&str; 10] = [
    ".git",
    "target",
    "node_modules",
    ".venv",
    ".cache",
    ".prometheus",
    "__pycache__",
    "corpus",
    "artifacts",
    "coverage",
];
/// Vague words that no module of ours may be called.
const VAGUE_NAMES: [&str; 7] = ["mod", "utils", "util", "common", "manager", "handler", "helper"];
/// What a protocol without I/O may be built from. Nothing in this list opens a socket, a file or a thread.
const PROTO_MAY_NAME: [&str; 12] = [
    "aes",
    "cfb8",
    "hmac",
    "serde",
    "serde_json",
    "sha1",
    "sha2",
    "subtle",
    "uuid",
    "zeroize",
    "base64",
    "md-5",
];

/// Where `unsafe` may be written, as the beginning of a path, and why. The lints deny it everywhere; this is
/// the list of who may say otherwise.
const MAY_BE_UNSAFE: [(&str, &str); 4] = [
    (
        "shards/src/engine/",
        "the kernel reads and writes memory of the ring's operations",
    ),
    (
        "shards/examples/ring/",
        "the bare ring that the engine is compared with does what the engine does",
    ),
    ("shards/src/rsa.rs", "AWS-LC is a C library"),
    (
        "shards/proto/src/cipher/aes_ni.rs",
        "the processor's AES instructions have to be looked for first",
    ),
];

/// A file of the checkout.
struct Source {
    /// Relative to the root, with `/`.
    path: String,
    text: String,
}

impl Source {
    fn has_extension(&self, extensions: &[&str]) -> bool {
        let extension = Path::new(&self.path)
            .extension()
            .and_then(|extension| extension.to_str());
        extension.is_some_and(|extension| extensions.contains(&extension))
    }

    fn is_generated(&self) -> bool {
        self.path.ends_with("/gen.rs")
            || self.path.ends_with("package-lock.json")
            || self.path == "Cargo.lock"
    }

    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text
            .lines()
            .enumerate()
            .map(|(index, line)| (index + 1, line))
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every text file of the checkout, in a stable order.
fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders = vec![root().to_path_buf()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        for entry in entries {
            let entry = entry.unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
            let ours = entry
                .file_name()
                .to_str()
                .is_none_or(|name| !NOT_OURS.contains(&name));
            let kind = entry
                .file_type()
                .unwrap_or_else(|error| panic!("{}: {error}", entry.path().display()));
            match (ours, kind.is_dir(), kind.is_file()) {
                (true, true, _) => folders.push(entry.path()),
                (true, _, true) => found.extend(read_text(&entry.path())),
                _ => {}
            }
        }
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    assert!(
        found.len() > 20,
        "the walk found only {} files: it looks in the wrong place",
        found.len()
    );
    found
}

/// The file, or `None` where it is not text.
fn read_text(path: &PathBuf) -> Option<Source> {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let text = String::from_utf8(bytes).ok()?;
    let path = path.strip_prefix(root()).ok()?.to_str()?.to_owned();
    (!text.contains('\0')).then_some(Source { path, text })
}

/// Fails with everything that was found, if anything was.
fn assert_none(findings: &[String]) {
    assert!(
        findings.is_empty(),
        "{} finding(s):\n{}",
        findings.len(),
        findings.join("\n")
    );
}

#[test]
fn code_stays_within_its_measures() {
    let mut findings = Vec::new();
    for source in sources()
        .iter()
        .filter(|source| source.has_extension(&["rs", "mjs", "py", "sh"]))
    {
        for (number, line) in source.lines() {
            let chars = line.chars().count();
            if chars > LINE_CHARS_MAX && !source.is_generated() {
                findings.push(format!(
                    "{}:{number}: {chars} characters, at most {LINE_CHARS_MAX}",
                    source.path
                ));
            }
        }
        let lines = source.text.lines().count();
        if lines > FILE_LINES_MAX && !source.is_generated() {
            findings.push(format!(
                "{}: {lines} lines, at most {FILE_LINES_MAX}: split it by subject",
                source.path
            ));
        }
    }
    assert_none(&findings);
}

#[test]
fn text_ends_cleanly() {
    let mut findings = Vec::new();
    for source in sources()
        .iter()
        .filter(|source| !source.is_generated() && !source.has_extension(&["snap", "json"]))
    {
        for (number, line) in source.lines() {
            if line.ends_with([' ', '\t', '\r']) {
                findings.push(format!(
                    "{}:{number}: white space at the end of the line",
                    source.path
                ));
            }
        }
        if !source.text.is_empty() && !source.text.ends_with('\n') {
            findings.push(format!("{}: no line feed at the end of the file", source.path));
        }
    }
    assert_none(&findings);
}

#[test]
fn every_rust_file_says_what_it_is_for() {
    let mut findings = Vec::new();
    for source in sources().iter().filter(|source| source.has_extension(&["rs"])) {
        let first = source.text.lines().next().unwrap_or_default();
        if first
            .strip_prefix("//! ")
            .is_none_or(|words| words.trim().len() < 10)
        {
            findings.push(format!(
                "{}:1: begin with `//!` and what this file is for",
                source.path
            ));
        }
    }
    assert_none(&findings);
}

#[test]
fn exceptions_give_their_reason() {
    // Put together here so that this file does not find itself.
    let ignore = concat!("#[", "ignore]");
    let allows = [concat!("#[", "allow("), concat!("#![", "allow(")];
    let mut findings = Vec::new();
    for source in sources()
        .iter()
        .filter(|source| source.has_extension(&["rs"]) && !source.is_generated())
    {
        for (number, line) in source.lines() {
            if line.contains(ignore) {
                findings.push(format!(
                    "{}:{number}: an ignored test gives its reason",
                    source.path
                ));
            }
            if allows.iter().any(|allow| line.contains(allow)) {
                findings.push(format!("{}:{number}: use `expect` with a reason", source.path));
            }
        }
    }
    assert_none(&findings);
}

#[test]
fn unsafe_stays_where_it_is_argued_for() {
    // Put together here so that this file does not find itself.
    let lint = concat!("unsafe", "_code");
    let forbidden = format!("forbid({lint})");
    let mut findings = Vec::new();
    for source in sources().iter().filter(|source| source.has_extension(&["rs"])) {
        let may = MAY_BE_UNSAFE
            .iter()
            .any(|(path, _)| source.path.starts_with(path));
        for (number, line) in source.lines() {
            if line.contains(lint) && !line.contains(&forbidden) && !may {
                findings.push(format!(
                    "{}:{number}: do without unsafe code, or argue for this file in MAY_BE_UNSAFE",
                    source.path
                ));
            }
        }
    }
    assert_none(&findings);
}

#[test]
fn modules_have_telling_names() {
    let mut findings = Vec::new();
    for source in sources().iter().filter(|source| source.has_extension(&["rs"])) {
        for part in Path::new(&source.path)
            .with_extension("")
            .iter()
            .filter_map(|part| part.to_str())
        {
            if VAGUE_NAMES.contains(&part) {
                findings.push(format!(
                    "{}: `{part}` says nothing: name the thing (and no mod.rs)",
                    source.path
                ));
            }
        }
    }
    assert_none(&findings);
}

#[test]
fn crate_edges_point_one_way() {
    // Crate, and what its manifest may not name. `passage` → `passage-shards` → `passage-proto`.
    let engine = ["glommio", "io-uring"];
    let edges: [(&str, &[&str]); 5] = [
        (
            "Cargo.toml",
            &[
                engine[0],
                engine[1],
                "aws-lc-sys",
                "passage-loadtest",
                "passage-fuzz",
            ],
        ),
        (
            "shards/Cargo.toml",
            &[
                "passage",
                "passage-loadtest",
                "tokio",
                "ureq",
                "rustls",
                "toml",
                "clap",
            ],
        ),
        (
            "shards/proto/Cargo.toml",
            &["passage", "passage-shards", "passage-loadtest"],
        ),
        ("loadtest/Cargo.toml", &["passage", engine[0]]),
        ("fuzz/Cargo.toml", &["passage-shards", engine[0]]),
    ];
    let mut findings = Vec::new();
    for (path, forbidden) in edges {
        let named = dependencies(path);
        assert!(!named.is_empty(), "{path} names no dependency at all");
        for name in named.iter().filter(|name| forbidden.contains(&name.as_str())) {
            findings.push(format!("{path}: must not depend on {name}"));
        }
    }
    for name in dependencies("shards/proto/Cargo.toml") {
        if !PROTO_MAY_NAME.contains(&name.as_str()) {
            findings.push(format!(
                "shards/proto/Cargo.toml: {name} is not known to be free of I/O"
            ));
        }
    }
    assert_none(&findings);
}

/// The names under `[dependencies]` and in the target tables of a manifest, not those for tests.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let text =
        fs::read_to_string(root().join(manifest)).unwrap_or_else(|error| panic!("{manifest}: {error}"));
    let table: toml::Table = text.parse().unwrap_or_else(|error| panic!("{manifest}: {error}"));
    let targets = table
        .get("target")
        .and_then(toml::Value::as_table)
        .into_iter()
        .flat_map(|all| all.values());
    let tables = std::iter::once(table.get("dependencies"))
        .chain(targets.map(|target| target.get("dependencies")))
        .flatten()
        .filter_map(toml::Value::as_table);
    tables.flat_map(|table| table.keys().cloned()).collect()
}

#[test]
fn nothing_names_a_machine_or_a_registry() {
    // Put together here so that this file does not find itself.
    let places = [
        concat!("/", "root/"),
        concat!("/", "home/"),
        concat!("/", "work/"),
        concat!("registry.npm", "js.org"),
        concat!("py", "pi.org"),
        concat!("files.python", "hosted.org"),
        concat!("static.crates", ".io"),
        concat!("index.crates", ".io"),
        concat!("deb.debian", ".org"),
    ];
    let mut findings = Vec::new();
    for source in sources().iter().filter(|source| source.path != "Cargo.lock") {
        for (number, line) in source.lines() {
            for place in places.iter().filter(|place| line.contains(**place)) {
                findings.push(format!(
                    "{}:{number}: names {place}, which another machine lacks",
                    source.path
                ));
            }
        }
    }
    assert_none(&findings);
}

#[test]
fn links_in_the_docs_lead_somewhere() {
    let mut findings = Vec::new();
    for source in sources().iter().filter(|source| source.has_extension(&["md"])) {
        for (number, line) in source.lines() {
            for link in line.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
                if let Some(problem) = dead_link(&source.path, link) {
                    findings.push(format!("{}:{number}: {problem}", source.path));
                }
            }
        }
    }
    assert_none(&findings);
}

/// What is wrong with a relative link in `document`; nothing for links out of the repository.
fn dead_link(document: &str, link: &str) -> Option<String> {
    if link.contains("://") || link.starts_with("mailto:") {
        return None;
    }
    let (file, anchor) = link
        .split_once('#')
        .map_or((link, None), |(file, anchor)| (file, Some(anchor)));
    let folder = root().join(document).parent().map(Path::to_path_buf)?;
    let target = if file.is_empty() {
        root().join(document)
    } else {
        folder.join(file)
    };
    if !target.exists() {
        return Some(format!("{link}: there is no such file"));
    }
    let anchor = anchor?;
    let text = fs::read_to_string(&target).ok()?;
    let headings = text.lines().filter(|line| line.starts_with('#')).map(anchor_of);
    (!headings.into_iter().any(|heading| heading == anchor))
        .then(|| format!("{link}: there is no such heading"))
}

/// The anchor that a Markdown heading gets: lower case, spaces to hyphens, punctuation dropped.
fn anchor_of(heading: &str) -> String {
    let words = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = words
        .chars()
        .filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
    kept.map(|letter| if letter == ' ' { '-' } else { letter })
        .collect()
}

#[test]
fn the_readme_has_the_two_commands_that_ci_runs() {
    let read =
        |path: &str| fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    let readme = read("README.md");
    let blocks: Vec<&str> = readme
        .split("```sh\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect();
    let commands: Vec<&str> = blocks.iter().map(|block| block.trim()).collect();
    assert_eq!(
        commands.first(),
        Some(&"cargo run --release"),
        "the first command runs the main job"
    );
    assert_eq!(
        commands.get(1),
        Some(&"tests/run"),
        "the second command passes the tests"
    );
    let ci = read(".ci/run");
    assert!(
        ci.lines().any(|line| line.trim() == "tests/run"),
        ".ci/run does not run the README's second command"
    );
}

//! Every shipped configuration boots: the program itself starts with it, listens, and ends when it is told
//! to.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../traces/passage.rs"]
mod passage;

use std::path::{Path, PathBuf};

use self::passage::Passage;

/// What an example says about this machine is replaced: its address, and one shard is enough.
const HERE: [(&str, &str); 2] = [("PASSAGE_ADDRESS", "127.0.0.1:0"), ("PASSAGE_SHARDS_COUNT", "1")];

fn shipped() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let files = [folder.clone(), folder.join("examples")].map(|folder| std::fs::read_dir(folder).unwrap());
    let paths = files.into_iter().flatten().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    paths.sort();
    paths
}

#[test]
fn every_shipped_configuration_boots_and_ends() {
    let paths = shipped();
    assert!(paths.len() >= 9, "{paths:?}");
    for path in paths {
        let text = std::fs::read_to_string(&path).unwrap();
        let passage = Passage::start(&text, &HERE);
        assert_eq!(passage.shards, 1, "{}", path.display());
        assert!(passage.address.port() > 0, "{}", path.display());
        let said = passage.end();
        let is_error = |line: &serde_json::Value| line["level"] == "ERROR";
        let wrong: Vec<_> = said.iter().filter(|line| is_error(line)).collect();
        assert!(wrong.is_empty(), "{}: {wrong:?}", path.display());
    }
}

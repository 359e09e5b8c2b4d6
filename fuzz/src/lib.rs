//! What must hold for every input of the control plane's fuzz targets.
//!
//! `cargo test` plays the committed inputs; `tests/fuzz` looks for new ones.

pub mod answers;
pub mod config;

mod bounds;
mod secrets;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    fn folder() -> &'static Path {
        Path::new(env!("CARGO_MANIFEST_DIR"))
    }

    fn play(target: &str, play: impl Fn(&[u8])) {
        let corpus = folder().join("corpus").join(target);
        let mut played = 0;
        for entry in fs::read_dir(&corpus).unwrap() {
            let path = entry.unwrap().path();
            play(&fs::read(&path).unwrap());
            played += 1;
        }
        assert!(played > 0, "{} is empty", corpus.display());
    }

    #[test]
    fn committed_answers_are_read_as_they_should() {
        play("answers", super::answers::play);
    }

    #[test]
    fn committed_configurations_are_read_as_they_should() {
        play("config", super::config::play);
    }

    #[test]
    fn the_dictionary_has_every_key() {
        let text = |path: &str| fs::read_to_string(folder().join(path)).unwrap();
        let dictionary = text("dictionaries/config.dict");
        let page = text("../docs/configuration.md");
        let keys = page
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split_once("` |"))
            .map(|(key, _)| key);
        let missing: Vec<_> = keys
            .filter(|key| !dictionary.contains(&format!("\"{key} = \"")))
            .collect();
        assert!(missing.is_empty(), "dictionaries/config.dict lacks {missing:?}");
    }
}

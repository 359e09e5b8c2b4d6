//! The attacked Passage: bounds as in production, on one shard, with its log in a file.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use passage_loadtest::attack::target::{BadTarget, Manner};
use passage_loadtest::attack::{BALANCER, Ground, Terrain};
use tempfile::TempDir;

use crate::contestant::config::{SECRET, free_addresses};
use crate::contestant::process::{self, Cpus, Process};

/// Host name of the route that is pinged and relayed.
pub(super) const PLAY_HOST: &str = "play.attack";
const LOGIN_HOST: &str = "login.attack";
const FAUCET_HOST: &str = "faucet.attack";
const DEAF_HOST: &str = "deaf.attack";
/// Open files of a process that has few.
const FEW_FILES: usize = 256;

/// An attacked server and what belongs to it.
pub(super) struct Fortress {
    pub(super) server: Process,
    pub(super) admin: SocketAddr,
    /// Its standard output.
    pub(super) log: PathBuf,
    pub(super) ground: Ground,
    /// Ended when the attack has ended.
    pub(super) bad_targets: Vec<BadTarget>,
    _directory: TempDir,
}

impl Fortress {
    /// Starts it, with good targets at `echo` and a session server.
    pub(super) fn start(
        passage: &Path,
        terrain: Terrain,
        echo: SocketAddr,
        session_server: SocketAddr,
        cpus: &Cpus,
    ) -> io::Result<Self> {
        let directory = TempDir::with_prefix("passage-attack-")?;
        let [address, admin] = free_addresses()?;
        let start = |manner| BadTarget::start(manner, cpus.load);
        let (faucet, deaf) = (start(Manner::Faucet)?, start(Manner::Deaf)?);
        let targets = Targets {
            echo,
            faucet: faucet.address(),
            deaf: deaf.address(),
            session_server,
        };
        let mut text = configuration(address, admin, &targets);
        if terrain == Terrain::Balanced {
            text += &format!("\n[proxy_protocol]\ntrusted = [\"{BALANCER}/32\"]\nuntrusted = \"direct\"\n");
        }
        let (file, log) = (
            directory.path().join("passage.toml"),
            directory.path().join("log"),
        );
        std::fs::write(&file, text)?;
        let files = (terrain == Terrain::FewFiles).then_some(FEW_FILES);
        let server = process::start("passage", command(passage, &file, &log, files), address, cpus)?;
        Ok(Self {
            server,
            admin,
            log,
            ground: Ground {
                server: address,
                relay_host: PLAY_HOST.to_owned(),
                login_host: LOGIN_HOST.to_owned(),
                faucet_host: FAUCET_HOST.to_owned(),
                deaf_host: DEAF_HOST.to_owned(),
                secret: SECRET.as_bytes().to_vec(),
            },
            bad_targets: vec![faucet, deaf],
            _directory: directory,
        })
    }
}

/// Passage by way of a shell, which sets the limit of open files and the place of the log, and becomes
/// Passage.
fn command(passage: &Path, file: &Path, log: &Path, files: Option<usize>) -> Command {
    let mut command = Command::new("/bin/sh");
    let limit = files.map_or(":".to_owned(), |files| format!("ulimit -n {files}"));
    command
        .env_clear()
        .arg("-c")
        .arg(format!("{limit} && exec \"$0\" --config \"$1\" >\"$2\""))
        .args([passage, file, log]);
    command
}

struct Targets {
    echo: SocketAddr,
    faucet: SocketAddr,
    deaf: SocketAddr,
    session_server: SocketAddr,
}

/// The bounds are the defaults, written down as the shipped configuration has them.
fn configuration(address: SocketAddr, admin: SocketAddr, targets: &Targets) -> String {
    let Targets {
        echo,
        faucet,
        deaf,
        session_server,
    } = targets;
    format!(
        r#"address = "{address}"
auth_secret = "{SECRET}"

[shards]
count = 1

[rate_limiter]
duration = 60
limit = 60

[limits]
drain = 1

[admin]
address = "{admin}"

[status]
type = "fixed"
name = "Passage"
description = '{{"text":"A Minecraft network","color":"gold"}}'

[[routes]]
hostname = "{PLAY_HOST}"
mode = "relay"
[routes.discovery]
targets = [{{ identifier = "echo", address = "{echo}" }}]

[[routes]]
hostname = "*.{PLAY_HOST}"
mode = "relay"
[routes.discovery]
targets = [{{ identifier = "echo", address = "{echo}" }}]

[[routes]]
hostname = "{LOGIN_HOST}"
mode = "transfer"
[routes.authentication]
type = "mojang"
url = "http://{session_server}"
[routes.discovery]
targets = [{{ identifier = "echo", address = "{echo}" }}]

[[routes]]
hostname = "{FAUCET_HOST}"
mode = "relay"
[routes.discovery]
targets = [{{ identifier = "faucet", address = "{faucet}" }}]

[[routes]]
hostname = "{DEAF_HOST}"
mode = "relay"
[routes.discovery]
targets = [{{ identifier = "deaf", address = "{deaf}" }}]
"#
    )
}

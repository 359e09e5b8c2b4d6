//! The generated code is what the `.proto` files say, to the byte.

use std::path::{Path, PathBuf};

/// Where the messages and clients are checked in, and the servers that only tests need.
const CLIENTS: &str = "src/adapters/grpc/gen.rs";
const SERVERS: &str = "src/adapters/grpc/tests/gen.rs";
const PROTO: &str = "src/adapters/grpc/proto";
const PACKAGE: &str = "scrayosnet.passage.adapter";
/// Set it to write the files instead of comparing them.
const UPDATE: &str = "UPDATE_GENERATED";

pub(super) const FILES: [&str; 7] = [
    "adapter",
    "status",
    "authentication",
    "discovery",
    "discovery_action",
    "strategy",
    "localization",
];

fn path(of: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(of)
}

/// What the code generator makes of the `.proto` files.
fn generate(builder: tonic_prost_build::Builder, what: &str) -> String {
    let files = FILES.map(|file| path(PROTO).join(format!("adapter/{file}.proto")));
    let descriptors = protox::compile(files, [path(PROTO)]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    builder
        .build_transport(false)
        .emit_package(true)
        .out_dir(folder.path())
        .compile_fds(descriptors)
        .unwrap();
    let code = std::fs::read_to_string(folder.path().join(format!("{PACKAGE}.rs"))).unwrap();
    format!("//! {what} of the package `{PACKAGE}`, generated from its `.proto` files.\n{code}")
}

fn compare(at: &str, generated: &str) {
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(path(at), generated).unwrap();
    }
    let checked_in = std::fs::read_to_string(path(at)).unwrap();
    assert!(
        checked_in == generated,
        "{at} is not what the .proto files say; run {UPDATE}=1 cargo test -p passage --lib freshness"
    );
}

#[test]
fn the_clients_are_what_the_proto_files_say() {
    let builder = tonic_prost_build::configure()
        .build_server(false)
        // Its `Debug` would print the secret of a connection.
        .skip_debug([format!("{PACKAGE}.AuthenticationRequest")])
        .btree_map(".")
        // What is asked is also what its answer is remembered by.
        .type_attribute(format!("{PACKAGE}.LocalizationRequest"), "#[derive(Eq, Hash)]");
    compare(CLIENTS, &generate(builder, "Messages and clients"));
}

#[test]
fn the_servers_for_tests_are_what_the_proto_files_say() {
    let builder = tonic_prost_build::configure()
        .build_client(false)
        .extern_path(format!(".{PACKAGE}"), "crate::adapters::grpc::contract");
    compare(SERVERS, &generate(builder, "Servers"));
}

#[test]
fn no_proto_file_is_forgotten() {
    let mut found: Vec<_> = std::fs::read_dir(path(PROTO).join("adapter"))
        .unwrap()
        .map(|entry| {
            entry
                .unwrap()
                .path()
                .file_stem()
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    let mut named = FILES.map(str::to_owned);
    found.sort_unstable();
    named.sort_unstable();
    assert_eq!(found, named);
}

//! Where the API server is, by what a machine says of itself.

use std::collections::BTreeMap;

use super::*;
use crate::adapters::agones::tests::{settings, write_kubeconfig};

fn variables<'a>(set: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<String> + 'a {
    let set: BTreeMap<_, _> = set.iter().copied().collect();
    move |name| set.get(name).map(|value| (*value).to_owned())
}

const IN_A_POD: [(&str, &str); 2] = [(SERVICE_HOST, "10.96.0.1"), (SERVICE_PORT, "443")];

fn service_account_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("token", "t0ken"),
        ("ca.crt", "no certificate yet"),
        ("namespace", "of-pod\n"),
    ] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

#[test]
fn a_pod_has_its_service_account() {
    let folder = service_account_folder();
    let mut cluster = settings().cluster;
    cluster.service_account = folder.path().into();
    for (host, server) in [
        ("10.96.0.1", "https://10.96.0.1:443/"),
        ("fd00::1", "https://[fd00::1]:443/"),
    ] {
        let pod = [(SERVICE_HOST, host), (SERVICE_PORT, "443")];
        let Ok(Found::ServiceAccount(config)) = find(&cluster, variables(&pod)) else {
            panic!("no service account")
        };
        assert_eq!(config.cluster_url.to_string(), server);
        assert_eq!(config.default_namespace, "of-pod");
        assert_eq!(config.root_cert_file, Some(folder.path().join("ca.crt")));
        let token = folder.path().join("token");
        assert_eq!(config.auth_info.token_file.as_deref(), token.to_str());
    }
}

#[test]
fn a_service_account_without_a_token_is_named() {
    let folder = service_account_folder();
    std::fs::remove_file(folder.path().join("token")).unwrap();
    let mut cluster = settings().cluster;
    cluster.service_account = folder.path().into();
    let problem = find(&cluster, variables(&IN_A_POD)).unwrap_err().to_string();
    assert!(problem.contains("/token: No such file"), "{problem}");
}

#[test]
fn a_kubeconfig_that_is_named_wins() {
    let folder = service_account_folder();
    let path = folder.path().join("kubeconfig");
    write_kubeconfig(&path, "127.0.0.1:1".parse().unwrap(), "t0ken");
    let mut cluster = settings().cluster;
    cluster.service_account = folder.path().into();
    cluster.kubeconfig = Some(path);
    let found = find(&cluster, variables(&IN_A_POD));
    assert!(matches!(found, Ok(Found::Kubeconfig(_))), "{found:?}");
}

#[test]
fn no_proxy_is_left_out_in_silence() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kubeconfig");
    let text = serde_json::json!({
        "current-context": "c",
        "clusters": [{
            "name": "c",
            "cluster": {"server": "http://127.0.0.1:1", "proxy-url": "http://127.0.0.1:2"},
        }],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "users": [{"name": "u", "user": {}}],
    });
    std::fs::write(&path, text.to_string()).unwrap();
    let mut settings = settings();
    settings.cluster.kubeconfig = Some(path);
    let problem = runtime
        .block_on(Access::new(&settings).allocate("{}"))
        .unwrap_err();
    assert_eq!(problem.cause, AskError::Unreachable);
    assert!(problem.problem.contains("names a proxy"), "{}", problem.problem);
}

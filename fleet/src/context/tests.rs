use std::fs;

use super::*;

fn load_text(text: &str) -> Result<Context, String> {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("config");
    fs::write(&path, text).expect("write");
    load(&path, None).map_err(|error| {
        let shown = error.to_string().replace(&path.display().to_string(), "FILE");
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
        shown + &cause.unwrap_or_default()
    })
}

#[test]
fn a_context_reads_with_paths_relative_to_its_file() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("config");
    let text = "current-context: home\ncontexts:\n- name: home\n  broker: mqtts://b\n  fleet: f\n  \
                ca: ca.pem\n  username: u\n  password-file: /etc/p\n";
    fs::write(&path, text).expect("write");
    let context = load(&path, None).expect("valid");
    assert_eq!(context.broker.to_string(), "mqtts://b:8883");
    assert_eq!(context.namespace.as_str(), "default");
    assert_eq!(context.ca, Some(directory.path().join("ca.pem")));
    assert_eq!(context.login, Some(("u".into(), Some("/etc/p".into()))));
    let error = load(&path, Some("away")).expect_err("no such context").to_string();
    assert!(error.starts_with("no context exists with the name: \"away\""), "{error}");
}

#[test]
fn errors_name_the_file_and_the_field() {
    let entry = |fields: &str| format!("current-context: a\ncontexts:\n- {{name: a, {fields}}}\n");
    for (text, expected) in [
        (entry("fleet: f"), "FILE: contexts[0].broker: is not set for context \"a\""),
        (entry("broker: 'mqtt://b'"), "FILE: contexts[0].fleet: is not set for context \"a\""),
        (
            entry("broker: b, fleet: f"),
            "FILE: contexts[0].broker: must begin with mqtt:// or mqtts://",
        ),
        (
            entry("broker: 'mqtt://b', fleet: F"),
            "FILE: contexts[0].fleet: fleet name `F` must consist",
        ),
        (entry("broker: 'mqtts://b', fleet: f"), "FILE: contexts[0].ca: is not set"),
        (
            entry("broker: 'mqtts://b', fleet: f, ca: c, cert: x"),
            "FILE: contexts[0].key: is not set, but cert is",
        ),
        (
            entry("broker: 'mqtt://b', fleet: f, ca: c"),
            "FILE: contexts[0].broker: must begin with mqtts://",
        ),
        (
            entry("broker: 'mqtt://b', fleet: f, password-file: c"),
            "FILE: contexts[0].username: is not set",
        ),
        ("contexts: []\n".into(), "current-context is not set in FILE"),
        ("contexts: []\ncolour: red\n".into(), "parse FILE: "),
    ] {
        let error = load_text(&text).expect_err("wrong");
        assert!(error.starts_with(expected), "{text}\n{error}");
    }
}

#[test]
fn a_file_that_was_written_reads_back_and_is_private() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("below/config");
    let entry = Entry { name: "a: b".into(), broker: Some("mqtt://b".into()), ..Entry::default() };
    let file = ConfigFile { current_context: Some("yes".into()), contexts: vec![entry] };
    file.write(&path).expect("writes");
    assert_eq!(ConfigFile::read(&path).expect("reads"), Some(file));
    assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
}

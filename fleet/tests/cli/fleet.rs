//! A fleet to play with: a broker, a configuration file, `mote`, and nodes.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use crate::broker::Broker;
use crate::node::{Behaviour, FakeNode};

/// A broker and a configuration that names it.
pub(crate) struct TestFleet {
    pub(crate) broker: Broker,
    directory: tempfile::TempDir,
}

/// What a command printed, and how it ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    /// The output of a command that must succeed.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.out
    }

    /// The errors of a command that must fail.
    #[track_caller]
    pub(crate) fn failed(self) -> String {
        assert_eq!(self.code, 1, "{self:?}");
        self.err
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("text");
        let code = output.status.code().expect("it was not killed");
        Self { code, out: text(output.stdout), err: text(output.stderr) }
    }
}

impl TestFleet {
    /// A fleet without nodes.
    pub(crate) fn start() -> Self {
        Self::on(Broker::start())
    }

    /// A fleet on a broker.
    pub(crate) fn on(broker: Broker) -> Self {
        let fleet = Self { broker, directory: tempfile::tempdir().expect("directory") };
        let url = fleet.broker.url();
        fleet.mote(&["config", "set-context", "test", "--broker", &url, "--fleet", "lab"]).ok();
        fleet
    }

    /// A node that does what it is asked.
    pub(crate) fn node(&self, name: &str) -> FakeNode {
        self.node_that(name, Behaviour::Obeys)
    }

    /// A node that behaves in some way.
    pub(crate) fn node_that(&self, name: &str, behaviour: Behaviour) -> FakeNode {
        FakeNode::start(self.broker.port, "lab", name, Some(&[]), behaviour)
    }

    /// A node that does what it is asked, in some groups; `None`: it does not say in which.
    pub(crate) fn node_in(&self, name: &str, groups: Option<&[&str]>) -> FakeNode {
        FakeNode::start(self.broker.port, "lab", name, groups, Behaviour::Obeys)
    }

    /// Takes from the broker what it holds below a topic of the fleet, as a broker loses things.
    pub(crate) fn clear(&self, below: &str) {
        let status = Command::new("mosquitto_pub")
            .args(["-h", "127.0.0.1", "-p", &self.broker.port.to_string(), "-r", "-n", "-t"])
            .arg(format!("mote/v1/lab/{below}"))
            .status();
        assert!(status.expect("mosquitto_pub is installed").success());
    }

    /// A file in the fleet's folder.
    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("below the folder")).expect("folder");
        fs::write(&path, text).expect("write");
        path.display().to_string()
    }

    /// A path in the fleet's folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A command that was not started yet.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mote"));
        command
            .args(arguments)
            .env("MOTE_CONFIG", self.path("config"))
            .env_remove("RUST_BACKTRACE")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs `mote`.
    pub(crate) fn mote(&self, arguments: &[&str]) -> Ran {
        self.command(arguments).output().expect("mote runs").into()
    }
}

/// A pod with one container.
pub(crate) fn pod(name: &str, image: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\n  labels: {{app: {name}}}\nspec:\n  \
         containers:\n  - name: main\n    image: {image}\n"
    )
}

/// Compares with a file under `golden/`; with `MOTE_BLESS=1` writes it anew.
#[track_caller]
pub(crate) fn golden(name: &str, text: &str) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/cli/golden");
    let path = folder.join(format!("{name}.txt"));
    if std::env::var_os("MOTE_BLESS").is_some() {
        fs::write(&path, text).expect("write");
    }
    let expected = fs::read_to_string(&path).expect("a golden file: write it with MOTE_BLESS=1");
    assert!(text == expected, "{} differs\nexpected:\n{expected}\nfound:\n{text}", path.display());
}

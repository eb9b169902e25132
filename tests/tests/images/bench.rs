//! A node's images, a registry, and nothing else.

use std::fs;
use std::future::Future;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use mote_agent::image::pull::frame::{self, Job, Request};
use mote_agent::image::{
    Ensured, Image, ImageError, ImageRequest, Images, PullPolicy, Puller, PullerConfig,
};
use mote_registry::{Host, PullSecrets, Settings};
use mote_tests::binaries;
use mote_tests::registry::Registry;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// A store and a registry in one directory.
pub(crate) struct Bench {
    runtime: Runtime,
    pub(crate) puller: Puller,
    pub(crate) registry: Registry,
    /// Where a registry would be that never answers.
    pub(crate) silent: TcpListener,
    config: PullerConfig,
    directory: TempDir,
}

impl Bench {
    pub(crate) fn new() -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("mote-images-").tempdir()?;
        let registry = Registry::start(directory.path())?;
        let silent = TcpListener::bind("127.0.0.1:0")?;
        let quiet = silent.local_addr()?.to_string();
        let plain = |host: String| Host { host, plain_http: true, ..Host::default() };
        let mut config = PullerConfig::new(directory.path().join("store"));
        config.program = binaries::agent()?;
        config.registries = Settings {
            hosts: [registry.host(), quiet, "127.0.0.1:9".to_owned()].map(plain).into(),
            ..Settings::default()
        };
        config.drop_dir = Some(directory.path().join("import"));
        fs::create_dir(directory.path().join("import"))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let puller = Puller::open(config.clone())?;
        Ok(Self { runtime, puller, registry, silent, config, directory })
    }

    /// What the next start of the agent finds.
    pub(crate) fn restart(&mut self) -> Result<()> {
        self.puller = Puller::open(self.config.clone())?;
        Ok(())
    }

    /// Restarts with other settings.
    pub(crate) fn configure(&mut self, change: impl FnOnce(&mut PullerConfig)) -> Result<()> {
        change(&mut self.config);
        self.restart()
    }

    /// What the agent would tell a pull of `reference` into `store`.
    pub(crate) fn order(&self, store: &Path, reference: &str) -> Request {
        Request {
            parent: std::process::id(),
            store: store.to_owned(),
            cgroup: None,
            reserve: self.config.reserve,
            registries: self.config.registries.clone(),
            job: Job::Pull { reference: reference.to_owned(), secrets: PullSecrets::default() },
        }
    }

    /// Starts a pull of `reference` into `store`, by itself or as the last words of another program's
    /// command line, which must stay its parent.
    pub(crate) fn start(&self, store: &Path, reference: &str, before: &[&str]) -> Result<Child> {
        let agent = binaries::agent()?;
        let mut command = match before {
            [] => Command::new(&agent),
            [program, words @ ..] => {
                let mut command = Command::new(program);
                command.args(words).arg(&agent);
                command
            }
        };
        let mut child = command.arg("pull").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut input = child.stdin.take().context("a pipe")?;
        let mut order = self.order(store, reference);
        if !before.is_empty() {
            order.parent = child.id();
        }
        match frame::write(&mut input, &order) {
            // It was killed before it heard us.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
            written => written?,
        }
        Ok(child)
    }

    /// Lets the node speak plain HTTP to one more host.
    pub(crate) fn allow_plain(&mut self, host: String) -> Result<()> {
        let host = Host { host, plain_http: true, ..Host::default() };
        self.configure(|config| config.registries.hosts.push(host))
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Where archives are dropped.
    pub(crate) fn import(&self) -> PathBuf {
        self.path().join("import")
    }

    pub(crate) fn block<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    pub(crate) fn ensure(
        &self,
        reference: &str,
        policy: PullPolicy,
    ) -> Result<Ensured, ImageError> {
        self.block(self.puller.ensure(&request(reference, policy)))
    }

    /// What must fail, as the text that a pod's status shows.
    pub(crate) fn refusal(&self, reference: &str) -> Result<ImageError> {
        let result = self.ensure(reference, PullPolicy::IfNotPresent);
        self.holds_nothing_unfinished()?;
        result.err().with_context(|| format!("{reference} must not be accepted"))
    }

    pub(crate) fn resolve(&self, ensured: &Ensured) -> Result<Image> {
        Ok(self.block(self.puller.resolve(&ensured.id))?)
    }

    /// A file of an image, as the topmost layer that has it shows it.
    pub(crate) fn read(&self, ensured: &Ensured, name: &str) -> Result<Vec<u8>> {
        let image = self.resolve(ensured)?;
        let layer = image.layers.iter().rev().find(|layer| layer.join(name).exists());
        Ok(fs::read(layer.with_context(|| format!("no {name}"))?.join(name))?)
    }

    /// Names in a directory of the store.
    pub(crate) fn stored(&self, directory: &str) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.path().join("store").join(directory))? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }

    pub(crate) fn holds_nothing_unfinished(&self) -> Result<()> {
        assert_eq!(self.stored("tmp")?, Vec::<String>::new());
        assert_eq!(self.stored("layers")?.len(), self.stored("records")?.len());
        Ok(())
    }
}

pub(crate) fn request(reference: &str, policy: PullPolicy) -> ImageRequest {
    let secrets = PullSecrets::default();
    ImageRequest { reference: reference.to_owned(), policy, secrets, waits: false }
}

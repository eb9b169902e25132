//! One node under test: the real agent, with directories and cgroups of its own.
//!
//! Pods outlive their agent by design, so a node that is dropped first ends its agent and then
//! everything the agent left: nothing of a test outlives it.

use std::fmt::Write;
use std::fs;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use anyhow::{Context, Result, ensure};
use mote_protocol::name::Uid;
use rustix::process::{Pid, Signal};

use crate::binaries;
use crate::broker::Broker;
use crate::host::Footprint;
use crate::image::Image;
use crate::process::{Process, command};

/// What a node's configuration says beside its name.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// `node`.
    pub name: String,
    /// The folder of its files, and its cgroup's name: as its name, but for a twin.
    pub directory: String,
    /// `fleet`.
    pub fleet: String,
    /// `[broker]`: TLS with a client certificate instead of plain TCP.
    pub tls: bool,
    /// Registries spoken to in plain HTTP.
    pub registries: Vec<String>,
    /// `[network]`. Nodes of tests run beside each other in one network: their pods have nothing but
    /// localhost unless a test says otherwise.
    pub network: String,
    /// Lines before `[broker]`: keys that belong to no table first, then tables of their own.
    pub extra: String,
}

impl NodeOptions {
    /// What a node is told where nobody cares for more.
    pub fn new(name: &str, fleet: &str) -> Self {
        Self {
            name: name.into(),
            directory: name.into(),
            fleet: fleet.into(),
            tls: false,
            registries: Vec::new(),
            network: "pod_cidr = \"none\"".into(),
            extra: String::new(),
        }
    }
}

/// A node.
#[derive(Debug)]
pub struct Node {
    /// What it was told.
    pub options: NodeOptions,
    footprint: Footprint,
    agent: Option<Process>,
    program: PathBuf,
    level: &'static str,
}

impl Node {
    /// A node below `directory` that speaks to a broker; its agent does not run yet.
    pub fn new(directory: &Path, options: NodeOptions, broker: &Broker) -> Result<Self> {
        let section = broker.section(&options)?;
        Self::with_broker(directory, options, &section)
    }

    /// The same with the `[broker]` table as it stands in the configuration.
    pub fn with_broker(directory: &Path, options: NodeOptions, section: &str) -> Result<Self> {
        let directory = directory.join(&options.directory);
        fs::create_dir_all(&directory)?;
        let unique = directory.parent().and_then(Path::file_name).unwrap_or_default();
        let cgroup = format!("{}.{}", unique.to_string_lossy(), options.directory);
        let footprint = Footprint { directory, cgroup };
        let node =
            Self { options, footprint, agent: None, program: binaries::agent()?, level: "debug" };
        fs::create_dir_all(node.images())?;
        fs::write(node.config(), node.configuration(section)?).context("write agent.toml")?;
        Ok(node)
    }

    /// Uses another build of the agent.
    #[must_use]
    pub fn with_program(mut self, program: &Path) -> Self {
        self.program = program.into();
        self
    }

    /// Lets the agent log as it does by default, for measuring.
    #[must_use]
    pub fn quiet(mut self) -> Self {
        self.level = "info";
        self
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.options.name
    }

    /// Everything it holds of the machine.
    pub fn footprint(&self) -> &Footprint {
        &self.footprint
    }

    /// What survives a power cut.
    pub fn state(&self) -> PathBuf {
        self.footprint.directory.join("state")
    }

    /// What does not survive a reboot.
    pub fn run(&self) -> PathBuf {
        self.footprint.directory.join("run")
    }

    /// Where files are that ask for pods.
    pub fn static_pods(&self) -> PathBuf {
        self.state().with_file_name("manifests")
    }

    /// Where archives are dropped to be imported.
    pub fn images(&self) -> PathBuf {
        self.state().join("import")
    }

    /// Its configuration file.
    pub fn config(&self) -> PathBuf {
        self.footprint.directory.join("agent.toml")
    }

    /// Drops an archive of an image into its import directory.
    pub fn import(&self, image: &Image, reference: &str) -> Result<()> {
        let name = reference.replace(['/', ':'], "-");
        // Complete under a hidden name first, as a careful person copies a file.
        let unfinished = self.images().join(format!(".{name}"));
        image.write_archive(&unfinished, reference)?;
        let path = self.images().join(format!("{name}.tar"));
        fs::rename(&unfinished, path).context("drop the archive")
    }

    /// Starts the agent and returns once it says that it runs.
    pub fn start(&mut self) -> Result<()> {
        self.launch()?;
        self.agent()?.wait_for_line("started")?;
        Ok(())
    }

    /// Starts the agent and does not wait for it.
    pub fn launch(&mut self) -> Result<()> {
        ensure!(self.agent.is_none(), "the agent of {} runs already", self.name());
        self.agent = Some(self.another_agent()?);
        Ok(())
    }

    /// One more agent with this node's configuration; nobody waits for it.
    pub fn another_agent(&self) -> Result<Process> {
        let mut start = command(&self.program);
        start.arg("--config").arg(self.config()).env("MOTE_LOG", self.level);
        Process::spawn(&format!("agent {}", self.name()), &mut start)
    }

    /// The agent's process.
    pub fn agent(&self) -> Result<&Process> {
        self.agent.as_ref().with_context(|| format!("the agent of {} does not run", self.name()))
    }

    /// The agent's number.
    pub fn pid(&self) -> Result<Pid> {
        Ok(self.agent()?.pid())
    }

    /// What the agent of now has logged.
    pub fn log(&self) -> String {
        self.agent.as_ref().map(Process::log).unwrap_or_default()
    }

    /// Ends the agent as power loss would: no goodbye. Gives its log.
    pub fn kill(&mut self) -> Result<String> {
        let mut agent = self.agent.take().context("no agent to kill")?;
        let ran = agent.is_running();
        agent.kill()?;
        ensure!(ran, "the agent had ended before it was killed; its log:\n{}", agent.log());
        Ok(agent.log())
    }

    /// Asks the agent to end; it must end well. Gives its log.
    pub fn terminate(&mut self) -> Result<String> {
        let mut agent = self.agent.take().context("no agent to end")?;
        agent.signal(Signal::TERM)?;
        let status = agent.wait()?;
        ensure!(status.success(), "the agent ended with {status}; its log:\n{}", agent.log());
        Ok(agent.log())
    }

    /// Power off: agent, pods and all that is in memory is gone; flash is left.
    pub fn power_off(&mut self) -> Result<()> {
        if self.agent.is_some() {
            self.kill()?;
        }
        self.footprint.sweep()?;
        match fs::remove_dir_all(self.run()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Asks the running agent over its local socket.
    pub fn ctl(&self, words: &[&str]) -> Result<String> {
        let answer = self.ctl_command(words).output().context("start mote-agent ctl")?;
        let error = String::from_utf8_lossy(&answer.stderr);
        ensure!(answer.status.success(), "mote-agent ctl {}: {error}", words.join(" "));
        Ok(String::from_utf8_lossy(&answer.stdout).into_owned())
    }

    /// The same, not started yet.
    pub fn ctl_command(&self, words: &[&str]) -> Command {
        let mut ask = command(&self.program);
        ask.env("MOTE_AGENT_CONFIG", self.config()).arg("ctl").args(words);
        ask
    }

    /// Ends all that runs in its pods, without an agent: what it says.
    pub fn halt(&self) -> Result<String> {
        let mut halt = command(&self.program);
        let answer = halt.arg("--config").arg(self.config()).arg("halt").output();
        let answer = answer.context("start mote-agent halt")?;
        let error = String::from_utf8_lossy(&answer.stderr);
        ensure!(answer.status.success(), "mote-agent halt: {error}");
        Ok(String::from_utf8_lossy(&answer.stdout).into_owned())
    }

    /// The one process of its pods whose command line ends so; what it forked to serve somebody bears
    /// the same line for a moment and is not meant.
    pub fn process(&self, command_line: &str) -> Result<Pid> {
        let all = self.processes(command_line)?;
        let mut found = all.clone();
        found.retain(|pid| crate::host::parent(*pid).is_none_or(|parent| !all.contains(&parent)));
        ensure!(found.len() == 1, "{} processes run `{command_line}`", found.len());
        found.first().copied().context("one was found")
    }

    /// All processes of its pods whose command line ends so.
    pub fn processes(&self, command_line: &str) -> Result<Vec<Pid>> {
        let mut found = self.footprint.processes()?;
        found.retain(|pid| crate::host::command_line(*pid).ends_with(command_line));
        Ok(found)
    }

    /// The processes that hold its pods.
    pub fn pauses(&self) -> Result<Vec<Pid>> {
        let mut found = self.footprint.processes()?;
        found.retain(|pid| {
            let name = fs::read_to_string(format!("/proc/{}/comm", pid.as_raw_nonzero()));
            name.is_ok_and(|name| name.trim() == "mote-pause")
        });
        Ok(found)
    }

    /// What a container of a pod has printed, all attempts, without the log's own columns.
    pub fn printed(&self, pod: &Uid, container: &str) -> Result<String> {
        let mut text = String::new();
        for path in files_below(&self.run()) {
            let shown = path.display().to_string();
            let is_log = path.extension().is_some_and(|extension| extension == "log");
            if is_log && shown.contains(&pod.to_string()) && shown.contains(container) {
                let log = fs::read_to_string(&path)?;
                // TIME STREAM TAG CONTENT
                let lines = log.lines().filter_map(|line| line.splitn(4, ' ').nth(3));
                lines.for_each(|line| text.extend([line, "\n"]));
            }
        }
        Ok(text)
    }

    /// The logs of a pod's containers as they are now, to be read also after the pod is gone.
    pub fn keep_logs(&self, pod: &Uid) -> Result<KeptLogs> {
        let mut logs = Vec::new();
        for path in files_below(&self.run()) {
            let is_log = path.extension().is_some_and(|extension| extension == "log");
            if is_log && path.display().to_string().contains(&pod.to_string()) {
                logs.push((path.clone(), fs::File::open(&path)?));
            }
        }
        Ok(KeptLogs(logs))
    }

    fn configuration(&self, section: &str) -> Result<String> {
        let options = &self.options;
        // What this machine is short of is no business of a test that does not say so.
        let told = options.extra.contains("[eviction]");
        let eviction = if told { "" } else { "[eviction]\nhard = []\n" };
        let mut text = format!(
            "node = \"{}\"\nfleet = \"{}\"\nstate_dir = \"{}\"\nrun_dir = \"{}\"\n\
             static_pod_path = \"{}\"\ncgroup_root = \"{}\"\n{}\n[network]\n{}\n{eviction}{section}\n",
            options.name,
            options.fleet,
            self.state().display(),
            self.run().display(),
            self.static_pods().display(),
            self.footprint.cgroup,
            options.extra,
            options.network
        );
        for host in &options.registries {
            writeln!(text, "[[images.registry]]\nhost = \"{host}\"\ninsecure = true")?;
        }
        Ok(text)
    }
}

/// Logs that stay readable when their pod is removed: they are open.
#[derive(Debug)]
pub struct KeptLogs(Vec<(PathBuf, fs::File)>);

impl KeptLogs {
    /// When a container wrote a line that ends with `word`: the log's own time, which sorts.
    pub fn said_at(&self, container: &str, word: &str) -> Result<String> {
        let mut all = String::new();
        for (path, file) in &self.0 {
            if path.display().to_string().contains(container) {
                let mut file = file;
                file.rewind()?;
                file.read_to_string(&mut all)?;
            }
        }
        let line = all.lines().find(|line| line.ends_with(word));
        let line =
            line.with_context(|| format!("no `{word}` in the log of {container}:\n{all}"))?;
        Ok(line.split(' ').next().unwrap_or_default().to_owned())
    }
}

/// Every file below a directory, sorted; what cannot be read is not there.
fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok) {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(files_below(&entry.path())),
            Ok(kind) if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
    found.sort();
    found
}

impl Drop for Node {
    fn drop(&mut self) {
        // The agent first: it would start again what is swept.
        self.agent.take();
        if let Err(error) = self.footprint.sweep() {
            eprintln!("sweep after {}: {error:#}", self.name());
            assert!(thread::panicking(), "a node could not be swept: {error:#}");
        }
    }
}

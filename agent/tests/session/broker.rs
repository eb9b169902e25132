//! A mosquitto of one test: its own port, its own files, gone with the test.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

pub(crate) struct Broker {
    pub(crate) port: u16,
    pub(crate) directory: TempDir,
    process: Option<Child>,
}

impl Broker {
    /// Starts with these lines of configuration for its one listener; `{dir}` stands for the
    /// directory.
    pub(crate) fn start(lines: &str) -> Self {
        let directory = tempfile::tempdir().expect("temporary directory");
        Self::start_in(directory, lines)
    }

    /// Starts in a directory that has files in it already.
    pub(crate) fn start_in(directory: TempDir, lines: &str) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = free.local_addr().expect("bound").port();
        drop(free);
        let lines = lines.replace("{dir}", &directory.path().display().to_string());
        let text = format!("user root\nlistener {port} 127.0.0.1\n{lines}\n");
        fs::write(directory.path().join("mosquitto.conf"), text).expect("written");
        let mut broker = Self { port, directory, process: None };
        broker.resume();
        broker
    }

    /// Starts again after [`Self::stop`]: it remembers nothing.
    pub(crate) fn resume(&mut self) {
        let child = Command::new("mosquitto")
            .arg("-c")
            .arg(self.path("mosquitto.conf"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("mosquitto is installed");
        self.process = Some(child);
        let begin = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(begin.elapsed() < Duration::from_secs(10), "mosquitto does not listen");
            std::thread::yield_now();
        }
    }

    /// Kills it.
    pub(crate) fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("ours to kill");
            process.wait().expect("ours to wait for");
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.stop();
    }
}

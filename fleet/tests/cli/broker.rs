//! A mosquitto of the test's own: own port, own folder, ended with the test.

use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running broker.
pub(crate) struct Broker {
    child: Child,
    pub(crate) port: u16,
    /// Its configuration and log, kept as long as it runs.
    directory: tempfile::TempDir,
}

impl Broker {
    /// Starts one that lets everybody do everything.
    pub(crate) fn start() -> Self {
        Self::with("allow_anonymous true\n")
    }

    /// Starts one with these lines in its configuration; `DIR` stands for its folder.
    pub(crate) fn with(lines: &str) -> Self {
        let directory = tempfile::tempdir().expect("directory");
        Self::within(directory, lines)
    }

    /// Starts one in a folder that holds what its configuration names.
    pub(crate) fn within(directory: tempfile::TempDir, lines: &str) -> Self {
        // The port is free when asked for; somebody else may still be faster, so try again.
        for _ in 0..20 {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
            let port = listener.local_addr().expect("bound").port();
            drop(listener);
            let path = directory.path().join("mosquitto.conf");
            let lines = lines.replace("DIR", &directory.path().display().to_string());
            let text = format!("listener {port} 127.0.0.1\npersistence false\n{lines}");
            fs::write(&path, text).expect("write");
            let mut child = Command::new("mosquitto")
                .arg("-c")
                .arg(&path)
                .stdout(Stdio::null())
                .stderr(fs::File::create(directory.path().join("log")).expect("log"))
                .spawn()
                .expect("mosquitto is installed");
            if answers(&mut child, port) {
                return Self { child, port, directory };
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        panic!("mosquitto does not start: {:?}", fs::read_to_string(directory.path().join("log")));
    }

    /// The filters that somebody subscribed to, where its configuration says `log_type subscribe`.
    pub(crate) fn subscriptions(&self) -> Vec<String> {
        let log = fs::read_to_string(self.directory.path().join("log")).expect("its log");
        log.lines().filter_map(|line| line.rsplit(' ').next()).map(String::from).collect()
    }

    /// Its address.
    pub(crate) fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }
}

/// Waits until the broker accepts connections; `false` where it ended.
fn answers(child: &mut Child, port: u16) -> bool {
    let until = Instant::now() + Duration::from_secs(10);
    while Instant::now() < until && matches!(child.try_wait(), Ok(None)) {
        match TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
            Ok(_) => return true,
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => std::thread::yield_now(),
            Err(error) => panic!("connect: {error}"),
        }
    }
    false
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

//! A real mosquitto, with everything it keeps in one directory of the test's own.

use std::fmt::Write;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal};

use crate::certificates::Authority;
use crate::node::NodeOptions;
use crate::port;
use crate::process::{Process, command};

/// How a broker is to be.
#[derive(Clone, Debug, Default)]
pub struct BrokerOptions {
    /// Retained messages survive a restart.
    pub persistent: bool,
    /// A second listener that demands a client certificate; its common name is the user's name.
    pub tls: bool,
    /// Lines of an access control list (mosquitto.conf(5), `acl_file`); all may do all without.
    pub acl: Option<String>,
    /// Further lines of its configuration.
    pub extra: String,
}

/// A broker.
#[derive(Debug)]
pub struct Broker {
    directory: PathBuf,
    options: BrokerOptions,
    address: SocketAddr,
    tls: Option<Tls>,
    process: Option<Process>,
}

#[derive(Debug)]
struct Tls {
    address: SocketAddr,
    authority: Authority,
}

impl Broker {
    /// Starts one that keeps its files in `directory`.
    pub fn start(directory: &Path, options: BrokerOptions) -> Result<Self> {
        fs::create_dir_all(directory)?;
        let tls = options.tls.then(|| Self::tls(directory)).transpose()?;
        let address = port::free()?;
        let mut broker = Self { directory: directory.into(), options, address, tls, process: None };
        broker.write_configuration()?;
        broker.resume()?;
        Ok(broker)
    }

    /// Where it speaks plain TCP.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it speaks TLS.
    pub fn tls_address(&self) -> Result<SocketAddr> {
        Ok(self.tls.as_ref().context("the broker has no TLS listener")?.address)
    }

    /// Who signs its certificate and its clients'.
    pub fn authority(&self) -> Result<&Authority> {
        Ok(&self.tls.as_ref().context("the broker has no TLS listener")?.authority)
    }

    /// The `[broker]` table of a node that speaks to it.
    pub fn section(&self, node: &NodeOptions) -> Result<String> {
        if !node.tls {
            return Ok(format!("[broker]\nurl = \"mqtt://{}\"", self.address));
        }
        let identity = self.authority()?.issue(&node.name)?;
        Ok(format!(
            "[broker]\nurl = \"mqtts://{}\"\nca = \"{}\"\ncert = \"{}\"\nkey = \"{}\"",
            self.tls_address()?,
            self.authority()?.certificate().display(),
            identity.certificate.display(),
            identity.key.display()
        ))
    }

    /// Its process.
    pub fn pid(&self) -> Result<Pid> {
        Ok(self.process.as_ref().context("the broker does not run")?.pid())
    }

    /// Ends it as an operating system does; what is persistent is written.
    pub fn stop(&mut self) -> Result<()> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        process.signal(Signal::TERM)?;
        process.wait()?;
        Ok(())
    }

    /// Starts it again where it was stopped.
    pub fn resume(&mut self) -> Result<()> {
        let mut start = command("mosquitto");
        start.arg("-c").arg(self.directory.join("mosquitto.conf"));
        let process = Process::spawn("mosquitto", &mut start)?;
        process.wait_for_line(" running")?;
        self.process = Some(process);
        Ok(())
    }

    /// Stops it and starts it without anything it knew.
    pub fn restart_empty(&mut self) -> Result<()> {
        self.stop()?;
        match fs::remove_file(self.directory.join("mosquitto.db")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => self.resume(),
        }
    }

    /// Stops it and starts it again with what it had.
    pub fn restart(&mut self) -> Result<()> {
        self.stop()?;
        self.resume()
    }

    fn tls(directory: &Path) -> Result<Tls> {
        let authority = Authority::new(directory)?;
        authority.issue("broker")?;
        Ok(Tls { address: port::free()?, authority })
    }

    fn write_configuration(&self) -> Result<()> {
        let directory = self.directory.display();
        let mut text = format!(
            "user root\nlog_dest stderr\nallow_anonymous true\n\
             max_queued_messages 10000\npersistence {}\npersistence_location {directory}/\n",
            self.options.persistent
        );
        if let Some(acl) = &self.options.acl {
            fs::write(self.directory.join("acl"), acl)?;
            writeln!(text, "acl_file {directory}/acl")?;
        }
        text.push_str(&self.options.extra);
        writeln!(text, "\nlistener {} 127.0.0.1", self.address.port())?;
        if let Some(tls) = &self.tls {
            write!(
                text,
                "listener {} 127.0.0.1\ncafile {directory}/ca.pem\ncertfile {directory}/broker.pem\n\
                 keyfile {directory}/broker.key\nrequire_certificate true\nuse_identity_as_username true\n",
                tls.address.port()
            )?;
        }
        fs::write(self.directory.join("mosquitto.conf"), text).context("write mosquitto.conf")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observer::Observer;
    use tempfile::TempDir;

    #[test]
    fn a_persistent_broker_remembers_and_an_emptied_one_forgets() -> Result<()> {
        let directory = TempDir::new()?;
        let options = BrokerOptions { persistent: true, ..BrokerOptions::default() };
        let mut broker = Broker::start(directory.path(), options)?;
        let topic = "mote/v1/f/n/birth";
        Observer::connect(broker.address(), "f")?.publish_retained(topic, b"here")?;
        broker.restart()?;
        assert_eq!(
            Observer::connect(broker.address(), "f")?.retained()?.get(topic).map(Vec::as_slice),
            Some(&b"here"[..])
        );
        broker.restart_empty()?;
        assert!(Observer::connect(broker.address(), "f")?.retained()?.is_empty());
        Ok(())
    }

    #[test]
    fn a_client_needs_a_certificate_where_tls_is_spoken() -> Result<()> {
        let directory = TempDir::new()?;
        let options = BrokerOptions { tls: true, ..BrokerOptions::default() };
        let broker = Broker::start(directory.path(), options)?;
        let client = broker.authority()?.issue("n1")?;
        assert!(client.key.is_file() && client.certificate.is_file());
        assert_ne!(broker.address(), broker.tls_address()?);
        Ok(())
    }
}

//! A real docker-registry, filled by what tests push, open or guarded.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::certificates::{Authority, Identity};
use crate::image::{Image, MANIFEST, sha256};
use crate::port;
use crate::process::{Process, command};
use crate::token_server::{self, TokenServer};

/// The name that a guarded registry knows, and its password.
pub const LOGIN: (&str, &str) = ("good", "s3cret-w0rd");

/// The password as `htpasswd -B -C 5` writes it: docker-registry reads bcrypt alone.
const HTPASSWD: &str = "good:$2y$05$6ZFaUsNkddIRDJ.PApROVezMZ64gKH2InTaXrYNZDJkSxXdRRywoa";

/// The media type of an index.
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// What a guarded registry asks for.
#[derive(Debug)]
pub enum Guard<'a> {
    /// Name and password.
    Password,
    /// A token from this server.
    Token(&'a TokenServer),
    /// A certificate of its clients by this authority, which signed its own as well.
    Certificate(&'a Authority),
    /// Nothing, but it speaks TLS with a certificate of this authority.
    Tls(&'a Authority),
}

impl Guard<'_> {
    /// Its part of the registry's configuration; files go to `directory`.
    fn configuration(&self, directory: &Path) -> Result<String> {
        match self {
            Self::Password => {
                let file = directory.join("htpasswd");
                fs::write(&file, HTPASSWD)?;
                Ok(format!("auth:\n  htpasswd:\n    realm: tests\n    path: {}\n", file.display()))
            }
            Self::Token(server) => Ok(format!(
                "auth:\n  token:\n    realm: http://{}/token\n    service: {}\n    issuer: {}\n    \
                 rootcertbundle: {}\n",
                server.host(),
                token_server::SERVICE,
                token_server::ISSUER,
                server.authority().display()
            )),
            Self::Tls(authority) | Self::Certificate(authority) => {
                let Identity { certificate, key } = authority.issue("registry.test")?;
                let mut text = format!(
                    "  tls:\n    certificate: {}\n    key: {}\n",
                    certificate.display(),
                    key.display()
                );
                if matches!(self, Self::Certificate(_)) {
                    let certificate = authority.certificate();
                    writeln!(text, "    clientcas:\n      - {}", certificate.display())?;
                }
                Ok(text)
            }
        }
    }
}

/// A registry on the loopback interface. What is started first is open and speaks plain HTTP.
#[derive(Debug)]
pub struct Registry {
    address: SocketAddr,
    storage: PathBuf,
    configuration: PathBuf,
    process: Process,
}

impl Registry {
    /// Starts one that keeps its files in `directory`.
    pub fn start(directory: &Path) -> Result<Self> {
        Self::serve(directory, directory.join("storage"), "")
    }

    /// Another one that serves what is pushed to this one, to those who show what `guard` asks for.
    pub fn guarded(&self, directory: &Path, guard: &Guard<'_>) -> Result<Self> {
        fs::create_dir_all(directory)?;
        Self::serve(directory, self.storage.clone(), &guard.configuration(directory)?)
    }

    fn serve(directory: &Path, storage: PathBuf, guard: &str) -> Result<Self> {
        let address = port::free()?;
        fs::create_dir_all(&storage)?;
        let configuration = directory.join("registry.yml");
        fs::write(
            &configuration,
            format!(
                "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: {address}\n{guard}",
                storage.display()
            ),
        )?;
        let process = run(&configuration)?;
        Ok(Self { address, storage, configuration, process })
    }

    /// `127.0.0.1:PORT`: what an image reference begins with.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// Pushes an image as `name:tag` and gives its full reference.
    pub fn push(&self, image: &Image, name: &str, tag: &str) -> Result<String> {
        for blob in image.blobs() {
            self.upload(name, &blob.digest, &blob.bytes)?;
        }
        let path = format!("/v2/{name}/manifests/{tag}");
        let manifest = image.manifest();
        let answer = self.request("PUT", &path, manifest.media_type, &manifest.bytes)?;
        ensure!(answer.status == 201, "push manifest: {} {}", answer.status, answer.body);
        Ok(format!("{}/{name}:{tag}", self.address))
    }

    /// Pushes images for several platforms (`linux/arm64`) as one `name:tag`, and gives its full
    /// reference and the digest of the index.
    pub fn push_index(
        &self,
        images: &[(&str, &Image)],
        name: &str,
        tag: &str,
    ) -> Result<(String, String)> {
        let mut manifests = Vec::new();
        for (platform, image) in images {
            let digest = &image.manifest().digest;
            self.push(image, name, digest)?;
            let (os, architecture) = platform.split_once('/').context("a platform has a slash")?;
            manifests.push(json!({
                "mediaType": MANIFEST,
                "digest": digest,
                "size": image.manifest().bytes.len(),
                "platform": {"os": os, "architecture": architecture},
            }));
        }
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests});
        let bytes = serde_json::to_vec(&index)?;
        let answer = self.request("PUT", &format!("/v2/{name}/manifests/{tag}"), INDEX, &bytes)?;
        ensure!(answer.status == 201, "push index: {} {}", answer.status, answer.body);
        Ok((format!("{}/{name}:{tag}", self.address), sha256(&bytes)))
    }

    /// Replaces the bytes of a blob behind the registry's back: it will serve what does not match
    /// its digest.
    pub fn corrupt(&self, digest: &str, bytes: &[u8]) -> Result<()> {
        Ok(fs::write(self.blob(digest)?, bytes)?)
    }

    /// Removes a blob behind the registry's back.
    pub fn lose(&self, digest: &str) -> Result<()> {
        Ok(fs::remove_file(self.blob(digest)?)?)
    }

    fn blob(&self, digest: &str) -> Result<PathBuf> {
        let (algorithm, hex) = digest.split_once(':').context("a digest has an algorithm")?;
        let start = hex.get(..2).context("a digest is long")?;
        let blobs = self.storage.join("docker/registry/v2/blobs");
        let data = blobs.join(algorithm).join(start).join(hex).join("data");
        ensure!(data.is_file(), "no blob {digest}");
        Ok(data)
    }

    /// Ends it; its address stays known.
    pub fn stop(&mut self) -> Result<()> {
        self.process.kill().map(drop)
    }

    /// Starts it once more where it was, with what was pushed to it.
    pub fn resume(&mut self) -> Result<()> {
        self.process = run(&self.configuration)?;
        Ok(())
    }

    fn upload(&self, name: &str, digest: &str, bytes: &[u8]) -> Result<()> {
        let start = self.request("POST", &format!("/v2/{name}/blobs/uploads/"), "", &[])?;
        ensure!(start.status == 202, "start upload: {} {}", start.status, start.body);
        let location = start.location.context("an upload has a location")?;
        let path = location.strip_prefix(&format!("http://{}", self.address)).unwrap_or(&location);
        let path = format!("{path}&digest={digest}");
        let end = self.request("PUT", &path, "application/octet-stream", bytes)?;
        ensure!(end.status == 201, "upload {digest}: {} {}", end.status, end.body);
        Ok(())
    }

    fn request(&self, method: &str, path: &str, media_type: &str, body: &[u8]) -> Result<Answer> {
        let mut stream = TcpStream::connect(self.address).context("connect to the registry")?;
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\
             Accept: {media_type}\r\nContent-Type: {media_type}\r\nContent-Length: {}\r\n\r\n",
            self.address,
            body.len()
        )?;
        stream.write_all(body)?;
        Answer::read(stream)
    }
}

fn run(configuration: &Path) -> Result<Process> {
    let mut serve = command("docker-registry");
    let process = Process::spawn("docker-registry", serve.arg("serve").arg(configuration))?;
    process.wait_for_line("listening on")?;
    Ok(process)
}

struct Answer {
    status: u16,
    location: Option<String>,
    body: String,
}

impl Answer {
    fn read(stream: TcpStream) -> Result<Self> {
        let mut lines = BufReader::new(stream);
        let mut line = String::new();
        lines.read_line(&mut line)?;
        let status = line.split(' ').nth(1).context("no status line")?.parse()?;
        let mut location = None;
        loop {
            line.clear();
            if lines.read_line(&mut line)? == 0 || line.trim().is_empty() {
                break;
            }
            match line.split_once(':') {
                Some((name, value)) if name.eq_ignore_ascii_case("location") => {
                    location = Some(value.trim().to_owned());
                }
                _ => {}
            }
        }
        let mut body = String::new();
        lines.read_to_string(&mut body)?;
        Ok(Self { status, location, body })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    #[test]
    fn what_is_pushed_can_be_asked_for_and_spoiled() -> Result<()> {
        let directory = TempDir::new()?;
        let registry = Registry::start(directory.path())?;
        let image = Image::busybox()?;
        let reference = registry.push(&image, "tools/busybox", "1")?;
        assert_eq!(reference, format!("{}/tools/busybox:1", registry.host()));
        let answer = registry.request("GET", "/v2/tools/busybox/manifests/1", MANIFEST, &[])?;
        assert_eq!(answer.status, 200);
        registry.corrupt(image.layer_digest(0), b"spoiled")
    }
}

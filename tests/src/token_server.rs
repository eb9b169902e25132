//! Who gives tokens for a registry: the "Docker Registry v2 authentication via central service", as
//! far as one repository and one name need it.

use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;

use crate::certificates::Authority;
use crate::registry::LOGIN;

/// Whom tokens are for, as the registry calls itself.
pub(crate) const SERVICE: &str = "tests";
/// Who gives them.
pub(crate) const ISSUER: &str = "mote tests";
/// Seconds that one is good for.
const LIFETIME: u64 = 300;

/// A server that gives a token to whoever shows [`LOGIN`], and 401 to everybody else.
#[derive(Debug)]
pub struct TokenServer {
    listener: Arc<TcpListener>,
    address: SocketAddr,
    authority: PathBuf,
    thread: Option<JoinHandle<()>>,
}

/// What tokens are signed with.
struct Signer {
    key: EcdsaKeyPair,
    certificate: String,
}

impl TokenServer {
    /// Starts one; its keys lie in `directory`.
    pub fn start(directory: &Path) -> Result<Self> {
        let authority = Authority::new(directory)?;
        let signer = Signer::new(&authority)?;
        let listener = Arc::new(TcpListener::bind("127.0.0.1:0")?);
        let address = listener.local_addr()?;
        let socket = Arc::clone(&listener);
        let thread = thread::spawn(move || {
            for stream in socket.incoming() {
                // Shut down: nobody is served any more.
                let Ok(stream) = stream else { return };
                // Whoever hangs up early has made up its mind.
                let _ = answer(&stream, &signer);
            }
        });
        Ok(Self { listener, address, authority: authority.certificate(), thread: Some(thread) })
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// The certificate that tokens are to be verified with (PEM).
    pub(crate) fn authority(&self) -> &Path {
        &self.authority
    }
}

impl Drop for TokenServer {
    fn drop(&mut self) {
        let _ = rustix::net::shutdown(&*self.listener, rustix::net::Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Signer {
    fn new(authority: &Authority) -> Result<Self> {
        let identity = authority.issue("tokens")?;
        let certificate = CertificateDer::from_pem_file(&identity.certificate)?;
        let key = PrivateKeyDer::from_pem_file(&identity.key)?;
        let random = SystemRandom::new();
        let key =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.secret_der(), &random)
                .map_err(|error| anyhow!("a key: {error}"))?;
        Ok(Self { key, certificate: BASE64_STANDARD.encode(&certificate) })
    }

    /// A JSON Web Token (RFC 7519) that lets its bearer pull `repository`.
    fn token(&self, repository: &str) -> Result<String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let header = json!({"typ": "JWT", "alg": "ES256", "x5c": [self.certificate]});
        let claims = json!({
            "iss": ISSUER, "sub": LOGIN.0, "aud": SERVICE, "jti": "1",
            "iat": now, "nbf": now - 10, "exp": now + LIFETIME,
            "access": [{"type": "repository", "name": repository, "actions": ["pull"]}],
        });
        let encode = |value: &serde_json::Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encode(&header), encode(&claims));
        let signature = self.key.sign(&SystemRandom::new(), signed.as_bytes());
        let signature = signature.map_err(|error| anyhow!("sign: {error}"))?;
        Ok(format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature)))
    }
}

/// Answers one request for a token.
fn answer(stream: &TcpStream, signer: &Signer) -> Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let request = lines.next().context("no request")??;
    let expected = format!("Basic {}", BASE64_STANDARD.encode(format!("{}:{}", LOGIN.0, LOGIN.1)));
    let mut shown = String::new();
    for line in lines {
        let line = line?;
        if line.is_empty() {
            break;
        }
        let Some((name, value)) = line.split_once(':') else { continue };
        if name.eq_ignore_ascii_case("authorization") {
            value.trim().clone_into(&mut shown);
        }
    }
    let (status, body) = match repository(&request).filter(|_| shown == expected) {
        Some(name) => ("200 OK", json!({"token": signer.token(&name)?, "expires_in": LIFETIME})),
        // Some servers repeat what they were shown.
        None => ("401 Unauthorized", json!({"errors": [{"code": "DENIED", "message": shown}]})),
    };
    let body = body.to_string();
    let mut stream = stream;
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )?;
    Ok(stream.shutdown(Shutdown::Write)?)
}

/// The repository in `scope=repository%3ANAME%3Apull`.
fn repository(request: &str) -> Option<String> {
    let query = request.split(' ').nth(1)?.split_once('?')?.1;
    let scope = query.split('&').find_map(|part| part.strip_prefix("scope="))?;
    let scope = scope.replace("%3A", ":").replace("%2F", "/");
    Some(scope.strip_prefix("repository:")?.strip_suffix(":pull")?.to_owned())
}

//! `mote create`: a `ConfigMap` or Secret from files and literals.

mod source;
mod tls;

use base64::engine::Engine as _;
use mote_protocol::name::ObjectName;
use mote_protocol::object::{ConfigMap, Secret};
use serde_json::json;

use super::apply::deliver::{self, Existing};
use super::{Invocation, Outcome};
use crate::cli::{ContentArgs, CreateCommand, CreateSecret, Delivery};
use crate::content::Content;
use crate::kubernetes::data::{BASE64, OPAQUE};
use crate::manifest::Manifest;
use crate::output::console::Console;
use source::Entries;

/// Runs the command.
pub async fn run(
    command: &CreateCommand,
    invocation: &Invocation,
    console: &mut Console,
) -> anyhow::Result<Outcome> {
    let (name, content, delivery) = match command {
        CreateCommand::Configmap { name, content, delivery } => {
            (name, config_map(content)?, delivery)
        }
        CreateCommand::Secret(command) => secret(command)?,
    };
    let manifest = Manifest::of(name.clone(), content)?;
    deliver::run(delivery, &[manifest], Existing::Refuse, invocation, console).await
}

/// What is text is `data`, the rest `binaryData`.
fn config_map(args: &ContentArgs) -> anyhow::Result<Content> {
    let mut map = ConfigMap::default();
    for (key, bytes) in source::read(args)? {
        match String::from_utf8(bytes) {
            Ok(text) => drop(map.data.insert(key, text)),
            Err(error) => drop(map.binary_data.insert(key, error.into_bytes())),
        }
    }
    Ok(Content::ConfigMap(map))
}

fn secret(command: &CreateSecret) -> anyhow::Result<(&ObjectName, Content, &Delivery)> {
    let (name, secret_type, data, delivery) = match command {
        CreateSecret::Generic { name, secret_type, content, delivery } => {
            let secret_type = Some(secret_type.as_str()).filter(|word| *word != OPAQUE);
            (name, secret_type.unwrap_or_default(), source::read(content)?, delivery)
        }
        CreateSecret::Tls { name, cert, key, delivery } => {
            (name, "kubernetes.io/tls", tls::read(cert, key)?, delivery)
        }
        CreateSecret::DockerRegistry {
            name,
            docker_server,
            docker_username,
            docker_password,
            docker_email,
            from_file,
            delivery,
        } => {
            let user = docker_username.as_deref().unwrap_or_default();
            let password = docker_password.as_deref().unwrap_or_default();
            let config = match from_file {
                Some(path) => source::read_file(path)?,
                None => registry(docker_server, user, password, docker_email),
            };
            let data = Entries::from([(".dockerconfigjson".to_owned(), config)]);
            (name, "kubernetes.io/dockerconfigjson", data, delivery)
        }
    };
    let secret_type = secret_type.to_owned();
    Ok((name, Content::Secret(Secret { secret_type, data, ..Secret::default() }), delivery))
}

/// Credentials as docker's config.json has them.
fn registry(server: &str, user: &str, password: &str, email: &str) -> Vec<u8> {
    let auth = BASE64.encode(format!("{user}:{password}"));
    let mut entry = json!({ "username": user, "password": password, "auth": auth });
    if !email.is_empty() {
        entry["email"] = email.into();
    }
    json!({ "auths": { server: entry } }).to_string().into_bytes()
}

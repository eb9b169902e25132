//! What an image asks of whoever runs it: the part of its configuration that reaches a container.
//!
//! Read from the OCI image configuration (the same document as Docker's). Absent and empty mean
//! the same, and unknown fields are ignored: registries are full of images with extra ones.

use std::collections::BTreeMap;

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

/// The defaults an image brings for its containers. Pod specs override them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ImageConfig {
    /// The program and its first arguments.
    #[serde(deserialize_with = "nullable")]
    pub entrypoint: Vec<String>,
    /// Arguments after the entrypoint, or program and arguments when that is empty.
    #[serde(deserialize_with = "nullable")]
    pub cmd: Vec<String>,
    /// Environment as `NAME=value`, in order.
    #[serde(deserialize_with = "nullable")]
    pub env: Vec<String>,
    /// `user`, `uid`, `user:group` and so on; empty for root.
    #[serde(deserialize_with = "nullable")]
    pub user: String,
    /// Where the program starts; empty for `/`.
    #[serde(deserialize_with = "nullable")]
    pub working_dir: String,
    /// The signal that asks the program to end, such as `SIGQUIT` or `3`.
    #[serde(deserialize_with = "nullable")]
    pub stop_signal: Option<String>,
    /// Paths the image wants on a volume.
    #[serde(deserialize_with = "keys")]
    pub volumes: Vec<String>,
    /// What the image says about itself.
    #[serde(deserialize_with = "nullable")]
    pub labels: BTreeMap<String, String>,
}

/// Docker writes `null` where it has nothing to say.
fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Volumes are a set, written as an object with empty values.
#[allow(clippy::zero_sized_map_values, reason = "it is a map in JSON")]
fn keys<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    // What the values hold is nobody's concern, and would take sixteen times its length.
    let set: BTreeMap<String, IgnoredAny> = nullable(deserializer)?;
    Ok(set.into_keys().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_docker_writes() {
        let config: ImageConfig = serde_json::from_str(
            r#"{"Hostname":"","User":"nobody:100","Env":["PATH=/bin"],"Cmd":["sh"],
                "Volumes":{"/data":{}},"WorkingDir":"/srv","Entrypoint":null,"OnBuild":null,
                "Labels":null,"StopSignal":"SIGQUIT"}"#,
        )
        .unwrap();
        assert_eq!(
            config,
            ImageConfig {
                cmd: vec!["sh".into()],
                env: vec!["PATH=/bin".into()],
                user: "nobody:100".into(),
                working_dir: "/srv".into(),
                stop_signal: Some("SIGQUIT".into()),
                volumes: vec!["/data".into()],
                ..ImageConfig::default()
            }
        );
    }

    #[test]
    fn empty_configuration_is_valid() {
        assert_eq!(serde_json::from_str::<ImageConfig>("{}").unwrap(), ImageConfig::default());
    }
}

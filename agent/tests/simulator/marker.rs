//! What a simulated container says of itself in its command line: which object asked for it, and
//! how it behaves.

use std::time::Duration;

use mote_protocol::pod::RestartPolicy;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// Runs until it is asked to end.
    Forever,
    /// Runs until it is killed.
    Stubborn,
    /// Ends with a code after some milliseconds.
    Ends(i32, u64),
}

/// One life of one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Marker {
    pub(crate) key: String,
    /// Revision number of the object that began this life.
    pub(crate) life: u64,
    pub(crate) policy: RestartPolicy,
    pub(crate) behaviour: Behaviour,
}

impl Marker {
    pub(crate) fn args(&self) -> Vec<String> {
        let policy = format!("{:?}", self.policy);
        let behaviour = match self.behaviour {
            Behaviour::Forever => "forever".into(),
            Behaviour::Stubborn => "stubborn".into(),
            Behaviour::Ends(code, after) => format!("{code}:{after}"),
        };
        vec!["run".into(), self.key.clone(), self.life.to_string(), policy, behaviour]
    }

    pub(crate) fn parse(args: &[String]) -> Self {
        let [_, key, life, policy, behaviour] = args else { panic!("no marker in {args:?}") };
        Self {
            key: key.clone(),
            life: life.parse().expect("a revision"),
            policy: match policy.as_str() {
                "Always" => RestartPolicy::Always,
                "OnFailure" => RestartPolicy::OnFailure,
                _ => RestartPolicy::Never,
            },
            behaviour: match behaviour.split_once(':') {
                Some((code, after)) => {
                    Behaviour::Ends(code.parse().expect("a code"), after.parse().expect("a time"))
                }
                None if behaviour == "stubborn" => Behaviour::Stubborn,
                None => Behaviour::Forever,
            },
        }
    }

    /// How it ends by itself.
    pub(crate) fn ends(&self) -> Option<(i32, Duration)> {
        match self.behaviour {
            Behaviour::Ends(code, after) => Some((code, Duration::from_millis(after))),
            Behaviour::Forever | Behaviour::Stubborn => None,
        }
    }

    pub(crate) fn stubborn(&self) -> bool {
        self.behaviour == Behaviour::Stubborn
    }
}

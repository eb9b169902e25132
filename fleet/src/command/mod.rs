//! The commands, one module each.
//!
//! Each asks the broker what is, decides (in functions that take the [`Fleet`] they decide on),
//! publishes, and waits for the nodes' answers. None of them prints an error: they return it.

pub mod apply;
mod ask;
mod compile;
pub mod config;
pub mod cordon;
pub mod create;
pub mod delete;
pub mod describe;
pub mod doctor;
pub mod drain;
pub mod events;
pub mod exec;
pub mod get;
pub mod image;
pub mod logs;
pub mod port_forward;
pub mod reboot;
pub mod resource;
mod stream;
pub mod top;
pub mod version;
pub mod wait;

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mote_protocol::name::{FleetName, Namespace, NodeName};

use crate::broker::{BrokerError, Session};
use crate::cli::{Cli, Command, Global};
use crate::context::{self, Context, ContextError};
use crate::output::console::Console;
use crate::view::Fleet;

/// How a command ended that could begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All of it was done.
    Done,
    /// Some of it was not; that was printed.
    Failed,
    /// A command elsewhere was run, and exited so; not with 0.
    Exited(u8),
}

impl Outcome {
    /// Of two parts: done where both are.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        match self {
            Self::Done => other,
            Self::Failed | Self::Exited(_) => self,
        }
    }
}

/// What every command is told.
pub struct Invocation {
    global: Global,
}

impl Invocation {
    /// Where the configuration is.
    pub fn config_path(&self) -> Result<PathBuf, ContextError> {
        context::locate(self.global.config.as_deref())
    }

    /// The context, with the namespace of the command line.
    pub fn context(&self) -> Result<Context, ContextError> {
        let mut context = context::load(&self.config_path()?, self.global.context.as_deref())?;
        if let Some(namespace) = &self.global.namespace {
            context.namespace = namespace.clone();
        }
        Ok(context)
    }

    /// The name of the context that was asked for.
    pub fn context_name(&self) -> Option<&str> {
        self.global.context.as_deref()
    }

    /// The namespace that was asked for.
    pub const fn namespace(&self) -> Option<&Namespace> {
        self.global.namespace.as_ref()
    }

    /// A conversation with the context's broker.
    pub async fn connect(&self, context: &Context) -> Result<Link, BrokerError> {
        let session = Session::open(context, self.global.request_timeout).await?;
        Ok(Link { session, name: context.fleet.clone(), fleet: Fleet::default() })
    }

    /// The same for streams of a node.
    pub async fn connect_for_streams(
        &self,
        context: &Context,
        node: &NodeName,
    ) -> Result<Link, BrokerError> {
        let timeout = self.global.request_timeout;
        let session = Session::open_for_streams(context, timeout, node).await?;
        Ok(Link { session, name: context.fleet.clone(), fleet: Fleet::default() })
    }

    /// How long one answer may take.
    pub const fn request_timeout(&self) -> Duration {
        self.global.request_timeout
    }
}

/// A conversation, and what it brought so far.
pub struct Link {
    /// The conversation.
    pub session: Session,
    /// The fleet it is about.
    pub name: FleetName,
    /// What is known of it.
    pub fleet: Fleet,
}

impl Link {
    /// Filters in one request to the broker: some bound a packet, few bound it to less than this.
    const BATCH: usize = 32;

    /// Takes in all that is retained below filters, and from then on what is new.
    pub async fn list(&mut self, filters: &[String]) -> Result<(), BrokerError> {
        for filters in filters.chunks(Self::BATCH) {
            let messages = self.session.list(filters).await?;
            self.fleet.absorb_all(&messages);
        }
        Ok(())
    }
}

/// Unix time.
pub fn unix_now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Unix time in whole seconds.
pub fn now_s() -> i64 {
    i64::try_from(unix_now().as_secs()).unwrap_or(i64::MAX)
}

/// Does what the command line says.
pub async fn run(cli: Cli, console: &mut Console) -> anyhow::Result<Outcome> {
    let invocation = Invocation { global: cli.global };
    match cli.command {
        Command::Create(command) => create::run(&command, &invocation, console).await,
        Command::Apply(args) => apply::run(&args, &invocation, console).await,
        Command::Compile(args) => compile::run(&args, &invocation, console),
        Command::Get(args) => match args.as_events() {
            Some(events) => events::run(&events?, &invocation, console).await,
            None => get::run(&args, &invocation, console).await,
        },
        Command::Delete(args) => delete::run(&args, &invocation, console).await,
        Command::Describe(args) => describe::run(&args, &invocation, console).await,
        Command::Doctor(args) => doctor::run(&args, &invocation, console).await,
        Command::Top(command) => top::run(&command, &invocation, console).await,
        Command::Events(args) => events::run(&args, &invocation, console).await,
        Command::Exec(args) => exec::run(&args, &invocation, console).await,
        Command::PortForward(args) => port_forward::run(&args, &invocation, console).await,
        Command::Logs(args) => logs::run(&args, &invocation, console).await,
        Command::Cordon(args) => cordon::run(&args.node, true, &invocation, console).await,
        Command::Uncordon(args) => cordon::run(&args.node, false, &invocation, console).await,
        Command::Drain(args) => drain::run(&args, &invocation, console).await,
        Command::Reboot(args) => reboot::run(&args.node, &invocation, console).await,
        Command::Image(command) => image::run(&command, &invocation, console).await,
        Command::Wait(args) => wait::run(&args, &invocation, console).await,
        Command::Version(args) => version::run(&args, &invocation, console).await,
        Command::Config(command) => config::run(command, &invocation, console),
    }
}

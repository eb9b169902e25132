//! The process that looks: `mote-agent examine`.
//!
//! Every look is a thread, and what it sees goes to standard output at once. When the time is over the
//! process ends: a thread that hangs in the kernel may keep it for longer, and nobody waits for it.

use std::io::{self, Write as _};
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use super::broker::{Broker, Step};
use super::clock::Clock;
use super::credentials::Credentials;
use super::disk::{Disk, Wear};
use super::kernel::{Kernel, try_filter};
use super::running::Agent;
use super::{Configuration, Part};
use crate::config::{self, BrokerConfig, Config, ConfigError};
use crate::ctl::encode;
use crate::daytime::Daytime;
use crate::exit::Exit;
use crate::ports::KernelWallClock;
use crate::store;

/// Time for a look at this machine.
const NEAR: Duration = Duration::from_secs(8);

/// Time for a look at the broker: each of its steps has five seconds.
pub(super) const FAR: Duration = Duration::from_secs(21);

/// Looks, and says what it sees.
pub fn main(config: &Path) -> Exit {
    let begin = Instant::now();
    let (tell, told) = mpsc::channel();
    let root = Path::new("/");
    look(&tell, move || {
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        Part::Kernel(Kernel::read(root, &release, try_filter))
    });
    look(&tell, move || Part::Wear(Wear::read(root)));
    let path = config.to_owned();
    look(&tell, move || {
        let files = [("this program", Path::new("/proc/self/exe")), ("its configuration", &path)];
        Part::Clock(Clock::read(&files))
    });
    let (path, own) = (config.to_owned(), tell.clone());
    let _ = thread::Builder::new().spawn(move || look_by_configuration(&path, &own));
    // The last sender is the last look.
    drop(tell);
    let mut asks_broker = false;
    loop {
        let patience = if asks_broker { FAR } else { NEAR };
        match told.recv_timeout(patience.saturating_sub(begin.elapsed())) {
            Ok(part) => {
                match &part {
                    Part::Configuration(found) => asks_broker = found.is_usable(),
                    Part::Broker(_) => asks_broker = false,
                    _ => {}
                }
                if say(&part).is_err() {
                    return Exit::Internal;
                }
            }
            Err(RecvTimeoutError::Disconnected | RecvTimeoutError::Timeout) => {
                // Who hangs keeps the pipe open: its end would not be heard.
                let _ = say(&Part::End);
                return Exit::Done;
            }
        }
    }
}

/// Reads the configuration, and begins to look at all that depends on it.
fn look_by_configuration(path: &Path, tell: &Sender<Part>) {
    let loaded = Config::load(path);
    let mut seen = Configuration { path: path.display().to_string(), ..Configuration::default() };
    match &loaded {
        Ok(_) => {}
        Err(ConfigError::Read { source, .. }) => seen.unreadable = Some(source.to_string()),
        Err(ConfigError::Invalid { problems, .. }) => {
            seen.mistakes = problems.iter().map(ToString::to_string).collect();
        }
    }
    // First: how long to wait depends on it.
    let _ = tell.send(Part::Configuration(seen));
    let (state, run) = match &loaded {
        Ok(config) => (config.state_dir.clone(), config.run_dir.clone()),
        Err(_) => (config::state_dir(path), config::run_dir(path)),
    };
    let seen = state.clone();
    look(tell, move || Part::Disk(Disk::read(&state)));
    look(tell, move || Part::Agent(Agent::ask(&run)));
    let Ok(config) = loaded else { return };
    let broker = config.broker.clone();
    look(tell, move || Part::Credentials(Credentials::read(&config, &daytime(&config.state_dir))));
    look(tell, move || greet(&broker, &daytime(&seen)));
}

fn daytime(state_dir: &Path) -> Daytime {
    Daytime::read(&KernelWallClock, store::last_seen(state_dir).unwrap_or_default())
}

fn greet(broker: &BrokerConfig, daytime: &Daytime) -> Part {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let seen = match runtime {
        Ok(runtime) => {
            let seen = runtime.block_on(Broker::greet(broker, daytime));
            // A name that is still looked up is nobody's business any more.
            runtime.shutdown_background();
            seen
        }
        Err(error) => {
            Broker { url: broker.url.to_string(), failed: Some((Step::Connect, error.to_string())) }
        }
    };
    Part::Broker(seen)
}

/// Looks in a thread of its own.
fn look(tell: &Sender<Part>, look: impl FnOnce() -> Part + Send + 'static) {
    let tell = tell.clone();
    // One that cannot be started is one that does not end.
    let _ = thread::Builder::new().spawn(move || drop(tell.send(look())));
}

fn say(part: &Part) -> io::Result<()> {
    let bytes = encode(part).map_err(io::Error::other)?;
    let mut out = io::stdout();
    out.write_all(&bytes)?;
    out.flush()
}

//! Where services lead, as the network is told, and what that takes beside rules.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::{fs, io};

use tracing::debug;

use super::flows::Changed;
use super::service::Served;
use super::settling::{Applied, in_use, unknown};
use super::{Network, Ranges, Unavailable, blocking, link};

impl Network {
    /// With services that have addresses of these ranges. What they lead to is kept in a file until the next boot:
    /// an agent that comes leads clients to where they were led, until it knows better.
    #[must_use]
    pub fn with_services(mut self, ranges: Option<Ranges>, kept: PathBuf) -> Self {
        // One that cannot be read says what one says that is not there.
        let served = fs::read(&kept).ok().and_then(|file| serde_json::from_slice(&file).ok());
        let served: Option<Vec<Served>> = served;
        let applied = self.applied.get_mut();
        applied.way = served.is_some();
        applied.kept = served.unwrap_or_default();
        let served = Mutex::new(applied.kept.clone());
        (self.services, self.kept, self.served) = (ranges, Some(kept), served);
        self
    }

    /// From now on services lead there.
    pub async fn serve(&self, served: Vec<Served>) {
        let before = std::mem::replace(&mut *self.served(), served.clone());
        if before == served {
            return;
        }
        // Why rules are not what they should be is told.
        let _ = self.settle().await;
        self.forget(Changed::of_services(&before, &served)).await;
    }

    /// Keeps where services lead for the next agent.
    pub(super) async fn keep(&self, applied: &mut Applied, served: &[Served]) {
        let Some(path) = self.kept.clone().filter(|_| applied.kept != served) else { return };
        let Ok(file) = serde_json::to_vec(served) else { return };
        match blocking(move || replace(&path, &file)).await {
            Ok(()) => applied.kept = served.to_vec(),
            Err(error) => debug!(%error, "keep where services lead for the next agent"),
        }
    }

    /// What rules for services are of no use without.
    pub(super) async fn lead_to_services(
        &self,
        applied: &mut Applied,
        served: &[Served],
    ) -> Result<(), Unavailable> {
        if let Some(ranges) = self.services.filter(|_| applied.way) {
            let mut own = applied.own_addresses().await?.to_vec();
            own.retain(|own| ranges.all().all(|range| range.first() != *own));
            in_use(ranges, &own, "service_cidr").map_or(Ok(()), Err)?;
        }
        if let Some(ranges) = self.services.filter(|_| applied.way && !applied.led) {
            let done = blocking(move || link::lead_to_services(ranges)).await;
            done.map_err(|error| unknown(&error))?;
            applied.led = true;
        }
        let of_node = served.iter().filter(|one| one.node_port != 0);
        let asked: Vec<IpAddr> =
            of_node.flat_map(|one| &one.endpoints).map(|(address, _)| *address).collect();
        if !asked.is_empty() {
            // A pod that is just going has no cable any more.
            let answer = |address: IpAddr| drop(link::answer_localhost(address));
            blocking(move || asked.into_iter().for_each(answer)).await;
        }
        Ok(())
    }

    pub(super) fn served(&self) -> MutexGuard<'_, Vec<Served>> {
        self.served.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Replaces a file as a whole.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let part = path.with_extension("part");
    fs::write(&part, bytes)?;
    fs::rename(part, path)
}

//! Which children a pod has and how those that ended ended.
//!
//! A container's exit may be reaped before anybody said which process the container is: the
//! helper that created it reports the process id to the agent, the agent claims it here, and a
//! short container is over by then. So an end is recorded for every child, and a claim looks
//! among the ends too. What is remembered is bounded; ends that nobody can ask for any more are
//! forgotten first.

use crate::wire::{Exit, Key, Role};

/// Claimed children at one time: all containers of a pod with an exec probe and a helper each.
pub const MAX_ALIVE: usize = 64;

/// Ends that are remembered.
pub const MAX_ENDED: usize = 64;

/// A child that somebody claimed and that has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alive {
    /// The container it belongs to.
    pub key: Key,
    /// What it is there.
    pub role: Role,
    /// Its process id.
    pub pid: u32,
}

/// When and how a child ended, before it is known which it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// Its process id.
    pub pid: u32,
    /// Status as `wait(2)` gives it.
    pub status: u32,
    /// `CLOCK_BOOTTIME`, in nanoseconds.
    pub boot_ns: u64,
    /// `CLOCK_REALTIME`, in nanoseconds.
    pub real_ns: u64,
}

/// There is no room for another claimed child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// The children of one pod.
///
/// An empty slot is all zeroes (process id 0): the table lies in memory that costs nothing until
/// it is used.
#[derive(Debug)]
pub struct Children {
    alive: [Slot; MAX_ALIVE],
    ended: [Exit; MAX_ENDED],
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    key: Option<Key>,
    role: Role,
    pid: u32,
}

impl Slot {
    const FREE: Self = Self { key: None, role: Role::Unclaimed, pid: 0 };

    fn alive(&self) -> Option<Alive> {
        Some(Alive { key: self.key?, role: self.role, pid: self.pid })
    }
}

const NO_EXIT: Exit =
    Exit { key: None, role: Role::Unclaimed, pid: 0, status: 0, boot_ns: 0, real_ns: 0 };

impl Children {
    /// No children.
    pub const NONE: Self = Self { alive: [Slot::FREE; MAX_ALIVE], ended: [NO_EXIT; MAX_ENDED] };

    /// Whether one more child can be claimed.
    pub fn has_room(&self) -> bool {
        self.alive.iter().any(|slot| slot.pid == 0)
    }

    /// Claims a living child. A second claim replaces the first.
    pub fn claim(&mut self, child: Alive) -> Result<(), Full> {
        let slots = &mut self.alive;
        let at = slots.iter().position(|slot| slot.pid == child.pid);
        let at = at.or_else(|| slots.iter().position(|slot| slot.pid == 0)).ok_or(Full)?;
        if let Some(slot) = slots.get_mut(at) {
            *slot = Slot { key: Some(child.key), role: child.role, pid: child.pid };
        }
        Ok(())
    }

    /// Claims a child that has ended already; nothing if none of that id is remembered.
    pub fn claim_ended(&mut self, child: Alive) -> Option<Exit> {
        let same = self.ended.iter_mut().filter(|exit| exit.pid == child.pid && exit.pid != 0);
        let exit = same.max_by_key(|exit| exit.boot_ns)?;
        (exit.key, exit.role) = (Some(child.key), child.role);
        let exit = *exit;
        self.forget_before(&exit);
        Some(exit)
    }

    /// Of one container only the last two ends can be asked for. The others must not take the room
    /// of commands: a pod that crashes for hours would lose theirs.
    fn forget_before(&mut self, last: &Exit) {
        let (Some(key), Role::Container) = (&last.key, last.role) else { return };
        for exit in &mut self.ended {
            let of = exit.key.as_ref().filter(|of| of.name == key.name);
            let old = of.is_some_and(|of| of.attempt.saturating_add(1) < key.attempt);
            if old && exit.role == Role::Container {
                *exit = NO_EXIT;
            }
        }
    }

    /// Records an end and tells whose it was.
    pub fn end(&mut self, end: End) -> Exit {
        let mut exit = Exit {
            pid: end.pid,
            status: end.status,
            boot_ns: end.boot_ns,
            real_ns: end.real_ns,
            ..NO_EXIT
        };
        if let Some(slot) = self.alive.iter_mut().find(|slot| slot.pid == end.pid) {
            (exit.key, exit.role) = (slot.key, slot.role);
            *slot = Slot::FREE;
        }
        self.forget_before(&exit);
        let least = self.ended.iter_mut().min_by_key(|exit| worth(exit));
        // What is worth less than everything that is remembered is not remembered.
        if let Some(least) = least.filter(|least| worth(least) <= worth(&exit)) {
            *least = exit;
        }
        exit
    }

    /// The claimed children that live.
    pub fn alive(&self) -> impl Iterator<Item = Alive> {
        self.alive.iter().filter_map(Slot::alive)
    }

    /// The remembered ends, in no order.
    pub fn ended(&self) -> impl Iterator<Item = Exit> {
        self.ended.iter().filter(|exit| exit.pid != 0).copied()
    }
}

/// What is least is forgotten first: free slots, then helpers and execs (who asked for them has
/// heard of them or is gone), then ends that may still be claimed, then containers; among equals
/// the oldest. A command is often over before its helper: the helper's end must not push it out.
fn worth(exit: &Exit) -> (u8, u64) {
    let role = match exit.role {
        Role::Unclaimed if exit.pid == 0 => 0,
        Role::Helper | Role::Exec => 1,
        Role::Unclaimed => 2,
        Role::Container => 3,
    };
    (role, exit.boot_ns)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::Name;

    fn child(name: &str, role: Role, pid: u32) -> Alive {
        Alive { key: Key { name: Name::new(name).expect("a valid name"), attempt: 0 }, role, pid }
    }

    fn end(pid: u32) -> End {
        End { pid, status: pid << 8, boot_ns: u64::from(pid), real_ns: 1 }
    }

    #[test]
    fn an_end_names_the_child_that_was_claimed() {
        let mut children = Children::NONE;
        let web = child("web", Role::Container, 7);
        children.claim(web).expect("room");
        assert!(children.alive().eq([web]));
        let exit = children.end(end(7));
        assert_eq!((exit.key, exit.role, exit.status), (Some(web.key), Role::Container, 7 << 8));
        assert_eq!(children.alive().count(), 0);
        assert!(children.ended().eq([exit]));
    }

    #[test]
    fn an_end_before_the_claim_is_found() {
        let mut children = Children::NONE;
        assert_eq!(children.end(end(7)).key, None);
        let web = child("web", Role::Container, 7);
        let exit = children.claim_ended(web).expect("remembered");
        assert_eq!((exit.key, exit.boot_ns), (Some(web.key), 7));
        assert!(children.ended().eq([exit]), "the claim is remembered too");
        assert_eq!(children.claim_ended(child("web", Role::Container, 8)), None);
        assert_eq!(children.claim_ended(child("web", Role::Container, 0)), None);
    }

    #[test]
    fn the_latest_end_of_a_reused_id_is_meant() {
        let mut children = Children::NONE;
        children.end(End { boot_ns: 50, ..end(7) });
        children.end(End { boot_ns: 90, ..end(7) });
        children.end(End { boot_ns: 70, ..end(7) });
        assert_eq!(children.claim_ended(child("a", Role::Exec, 7)).map(|e| e.boot_ns), Some(90));
    }

    #[test]
    fn orphans_cannot_displace_containers() {
        let mut children = Children::NONE;
        for pid in 1..=10 {
            children.claim(child("web", Role::Container, pid)).expect("room");
            children.end(end(pid));
        }
        for pid in 11..=20 {
            children.claim(child("web", Role::Exec, pid)).expect("room");
            children.end(end(pid));
        }
        for pid in 1000..9000 {
            children.end(end(pid));
        }
        assert_eq!(children.ended().count(), MAX_ENDED);
        let of = |role| children.ended().filter(|exit| exit.role == role).count();
        assert_eq!((of(Role::Container), of(Role::Exec)), (10, 0));
        let oldest = children.ended().filter(|exit| exit.pid >= 1000).map(|exit| exit.pid).min();
        assert_eq!(oldest, Some(9000 - 54), "the oldest orphan goes first");
    }

    #[test]
    fn a_command_that_ended_before_its_helper_is_found_however_many_came_before() {
        let mut children = Children::NONE;
        for pid in (2..1000).step_by(2) {
            children.claim(child("web", Role::Helper, pid)).expect("room");
            children.end(end(pid + 1));
            children.end(end(pid));
            let exit = children.claim_ended(child("web", Role::Exec, pid + 1));
            assert_eq!(exit.map(|exit| exit.boot_ns), Some(u64::from(pid + 1)));
        }
    }

    #[test]
    fn a_pod_that_crashes_for_hours_does_not_lose_the_ends_of_commands() {
        let mut children = Children::NONE;
        let attempt = |attempt, pid| {
            let key = Key { attempt, ..child("web", Role::Container, pid).key };
            Alive { key, role: Role::Container, pid }
        };
        for number in 0..200 {
            children.claim(attempt(number, number + 1)).expect("room");
            children.end(end(number + 1));
        }
        let kept = children.ended().filter_map(|exit| exit.key).map(|key| key.attempt);
        let mut kept: Vec<_> = kept.collect();
        kept.sort_unstable();
        assert_eq!(kept, [198, 199], "the last two are enough");
        children.claim(child("web", Role::Helper, 1000)).expect("room");
        children.end(end(1001));
        children.end(end(1000));
        assert!(children.claim_ended(child("web", Role::Exec, 1001)).is_some());
    }

    #[test]
    fn a_full_table_refuses_and_recovers() {
        let mut children = Children::NONE;
        for pid in 1..=64 {
            children.claim(child("web", Role::Exec, pid)).expect("room");
        }
        assert!(!children.has_room());
        assert_eq!(children.claim(child("web", Role::Exec, 65)), Err(Full));
        children.claim(child("db", Role::Exec, 64)).expect("a second claim needs no room");
        children.end(end(1));
        assert!(children.has_room());
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        /// A child ends.
        End(u32),
        /// Somebody claims a child.
        Claim(u32),
    }

    proptest! {
        /// In whatever order children end and are claimed: each that both happened to is told
        /// once, as what it was claimed as, and those that live are known.
        #[test]
        fn each_claimed_end_is_told_once(order in Just((1..=30).collect::<Vec<u32>>())
            .prop_flat_map(|pids| {
                let ends = pids.iter().map(|pid| Step::End(*pid));
                let claims = pids.iter().map(|pid| Step::Claim(*pid));
                Just(ends.chain(claims).collect::<Vec<_>>()).prop_shuffle()
            }))
        {
            let mut children = Children::NONE;
            let (mut ended, mut told) = (Vec::new(), Vec::new());
            for step in order {
                match step {
                    Step::End(pid) => {
                        ended.push(pid);
                        told.extend(Some(children.end(end(pid))).filter(|exit| exit.key.is_some()));
                    }
                    Step::Claim(pid) => {
                        let child = child("web", Role::Container, pid);
                        if ended.contains(&pid) {
                            told.extend(children.claim_ended(child));
                        } else {
                            prop_assert_eq!(children.claim(child), Ok(()));
                        }
                    }
                }
            }
            prop_assert_eq!(children.alive().count(), 0);
            told.sort_by_key(|exit| exit.pid);
            prop_assert!(told.iter().map(|exit| exit.pid).eq(1..=30));
            prop_assert!(told.iter().all(|exit| exit.role == Role::Container));
        }
    }
}

//! The pull process: what it costs, and what is left when it is killed.

use std::fs;
use std::io::Read;
use std::os::unix::fs::symlink;

use anyhow::{Context, Result, ensure};
use mote_agent::image::{Images, PullPolicy, Retry, Source};
use mote_tests::image::{Builder, Image, Layer};
use mote_tests::process::{command, wait_for_exit};
use mote_tests::random::Random;
use mote_tests::wait::Deadline;
use rustix::process::{Pid, Signal, kill_process};

use crate::bench::{Bench, request};

/// Bytes that hardly pack.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    Random::new(1).bytes(length)
}

/// The pull processes of this thread.
pub(crate) fn pulls() -> Result<Vec<Pid>> {
    let children = fs::read_to_string("/proc/thread-self/children")?;
    let mut pulls = Vec::new();
    for pid in children.split_whitespace() {
        let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        if arguments.ends_with(b"\0pull\0") {
            pulls.extend(Pid::from_raw(pid.parse()?));
        }
    }
    Ok(pulls)
}

/// Asks for an image from a registry that never answers, until it has been asked.
async fn hang<R>(bench: &Bench, meanwhile: impl FnOnce(Pid) -> Result<R>) -> Result<R> {
    let listener = bench.silent.try_clone()?;
    let reference = format!("{}/a:1", listener.local_addr()?);
    let silent = request(&reference, PullPolicy::IfNotPresent);
    let asked = tokio::task::spawn_blocking(move || {
        let (mut stream, _) = listener.accept()?;
        let mut start = [0; 4];
        stream.read_exact(&mut start)?;
        Ok::<_, std::io::Error>(stream)
    });
    let mut ensure = std::pin::pin!(bench.puller.ensure(&silent));
    let stream = tokio::select! {
        result = &mut ensure => anyhow::bail!("it ended: {result:?}"),
        stream = asked => stream??,
    };
    let result = meanwhile(*pulls()?.first().context("a pull runs")?)?;
    drop(stream);
    Ok(result)
}

#[test]
fn a_pull_that_nobody_waits_for_is_killed() -> Result<()> {
    let bench = Bench::new()?;
    let pid = bench.block(hang(&bench, Ok))?;
    // `hang` dropped the only one who waited; the loop must turn once more to let go.
    bench.block(tokio::task::yield_now());
    wait_for_exit(pid, Deadline::patient())?;
    // The next one does not have to wait for it.
    let reference = bench.registry.push(&Image::busybox()?, "a", "1")?;
    bench.ensure(&reference, PullPolicy::IfNotPresent)?;
    assert_eq!(pulls()?, []);
    Ok(())
}

#[test]
fn a_killed_pull_is_told_and_leaves_nothing() -> Result<()> {
    let bench = Bench::new()?;
    let big = noise(6_000_000);
    let image = Builder::default().layer(Layer::default().file("big", 0o644, &big)).build()?;
    let reference = bench.registry.push(&image, "a", "1")?;
    let asked = request(&reference, PullPolicy::IfNotPresent);
    let error = bench.block(async {
        let killer = async {
            loop {
                if let Some(pid) = pulls()?.first() {
                    return kill_process(*pid, Signal::KILL).context("kill");
                }
                tokio::task::yield_now().await;
            }
        };
        let (result, killed) = tokio::join!(bench.puller.ensure(&asked), killer);
        killed?;
        result.err().context("it must fail")
    })?;
    assert_eq!((error.reason(), error.retry()), ("ErrImagePull", Retry::Soon));
    assert!(error.message().contains("signal: 9"), "{}", error.message());
    let ensured = bench.ensure(&reference, PullPolicy::IfNotPresent)?;
    assert!(matches!(ensured.source, Source::Pulled { .. }));
    assert_eq!(bench.read(&ensured, "big")?, big);
    bench.holds_nothing_unfinished()
}

#[test]
fn a_pull_gives_up_rights_and_priority() -> Result<()> {
    let bench = Bench::new()?;
    let (status, stat, class) = bench.block(hang(&bench, |pid| {
        let read = |name| fs::read_to_string(format!("/proc/{}/{name}", pid.as_raw_nonzero()));
        let class = command("ionice").args(["-p", &pid.to_string()]).output()?.stdout;
        Ok((read("status")?, read("stat")?, String::from_utf8(class)?))
    }))?;
    assert_eq!(class.trim(), "idle", "its turn on the disk");
    let field = |name: &str| status.lines().find_map(|l| l.strip_prefix(name)).map(str::trim);
    // CHOWN, DAC_OVERRIDE, FOWNER, FSETID, SYS_ADMIN, MKNOD, SETFCAP.
    assert_eq!(field("CapEff:"), Some("000000008820001b"));
    assert_eq!(field("CapBnd:"), Some("000000008820001b"));
    assert_eq!(field("NoNewPrivs:"), Some("1"));
    let niceness = |stat: &str| -> Result<i32> {
        let after_name = stat.rsplit_once(") ").context("a stat line")?.1;
        Ok(after_name.split(' ').nth(16).context("field 19")?.parse()?)
    };
    // Ten more than whoever runs the tests, up to the most there is.
    let own = niceness(&fs::read_to_string("/proc/self/stat")?)?;
    assert_eq!(niceness(&stat)?, (own + 10).min(19));
    Ok(())
}

/// Whether this kernel has what keeps a pull in its store. That the pull asks for it must be seen.
fn is_walled(bench: &Bench, reference: &str) -> Result<bool> {
    let (store, seen) = (bench.path().join("walled"), bench.path().join("walled.strace"));
    let (seen, calls) =
        (seen.display().to_string(), "landlock_create_ruleset,landlock_restrict_self");
    let words = ["strace", "-f", "-q", "-o", &seen, "-e", &format!("trace={calls}")];
    // The agent has made it by then: a wall without its store would keep out the pull itself.
    fs::create_dir(&store)?;
    let ended = bench.start(&store, reference, &words)?.wait_with_output()?.status;
    ensure!(ended.success(), "the pull ended with {ended}");
    let seen = fs::read_to_string(seen)?;
    // The first version lets no name move between directories, which every layer does.
    if ["ENOSYS", "EOPNOTSUPP", "VERSION) = 1\n"].iter().any(|lacks| seen.contains(lacks)) {
        println!("this kernel has no landlock that would do: {seen}");
        return Ok(false);
    }
    let walled = |line: &str| line.contains("landlock_restrict_self(") && line.ends_with("= 0");
    ensure!(seen.lines().any(walled), "no wall was asked for:\n{seen}");
    Ok(true)
}

#[test]
fn a_pull_reads_and_writes_nothing_outside_of_its_store() -> Result<()> {
    let bench = Bench::new()?;
    let reference = bench.registry.push(&Image::busybox()?, "a", "1")?;
    if !is_walled(&bench, &reference)? {
        return Ok(());
    }
    let (store, outside) = (bench.path().join("store"), bench.path().join("outside"));
    // One of the store's own directories leads out of it, where everybody but the pull may follow.
    fs::create_dir(&outside)?;
    fs::remove_dir(store.join("manifests"))?;
    symlink(&outside, store.join("manifests"))?;
    let error = bench.ensure(&reference, PullPolicy::IfNotPresent).err().context("a way out")?;
    ensure!(error.message().contains("Permission denied"), "{}", error.message());
    ensure!(fs::read_dir(&outside)?.next().is_none(), "something was written there");

    fs::remove_file(store.join("manifests"))?;
    fs::create_dir(store.join("manifests"))?;
    bench.ensure(&reference, PullPolicy::IfNotPresent)?;
    assert_eq!(bench.block(bench.puller.verify())?.layers, 1);
    fs::rename(store.join("contents"), outside.join("contents"))?;
    symlink(outside.join("contents"), store.join("contents"))?;
    let error = bench.block(bench.puller.verify()).err().context("lists out there were read")?;
    ensure!(error.message().contains("Permission denied"), "{}", error.message());
    Ok(())
}

/// What a pull of an image takes at most of anonymous memory, KiB.
fn peak(bench: &Bench, image: &Image) -> Result<u64> {
    let reference = bench.registry.push(image, "big", "1")?;
    let asked = request(&reference, PullPolicy::IfNotPresent);
    let mut peak = 0;
    bench.block(async {
        let mut ensure = std::pin::pin!(bench.puller.ensure(&asked));
        loop {
            tokio::select! {
                result = &mut ensure => return result.map(drop).map_err(anyhow::Error::from),
                () = tokio::task::yield_now() => {}
            }
            for pid in pulls()? {
                let path = format!("/proc/{}/status", pid.as_raw_nonzero());
                let status = fs::read_to_string(path).unwrap_or_default();
                let anonymous = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
                let kib =
                    anonymous.and_then(|text| text.trim().trim_end_matches(" kB").parse().ok());
                peak = peak.max(kib.unwrap_or(0_u64));
            }
        }
    })?;
    Ok(peak)
}

#[test]
fn pulling_a_large_layer_takes_little_memory() -> Result<()> {
    let bench = Bench::new()?;
    let layer = Layer::default().file("big", 0o644, &noise(16_000_000));
    let peak = peak(&bench, &Builder::default().layer(layer).build()?)?;
    println!("pull of a 16 MB layer: {peak} KiB of anonymous memory at most");
    assert!(peak > 0 && peak < 6 * 1024, "{peak} KiB");
    Ok(())
}

#[test]
fn the_largest_window_of_zstd_takes_itself_and_little_more() -> Result<()> {
    const WINDOW: u64 = 8 * 1024;
    // Both what packs and what does not, more than a window of it.
    let content: Vec<u8> = noise(12_000_000)
        .chunks(500)
        .enumerate()
        .flat_map(|(number, piece)| {
            let line = format!("{number} is a line of text that packs well\n").into_bytes();
            line.into_iter().cycle().take(500).chain(piece.iter().copied())
        })
        .collect();
    let layer = || Layer::default().file("big", 0o644, &content);
    let peak_of = |layer| peak(&Bench::new()?, &Builder::default().layer(layer).build()?);
    let (usual, tight) = (peak_of(layer())?, peak_of(layer().zstd())?);
    println!("pull of 24 MB: {usual} KiB of anonymous memory with gzip, {tight} with zstd -19");
    assert!(tight > WINDOW, "{tight} KiB: that is no window of 8 MiB");
    assert!(tight < usual + WINDOW + 1536, "{tight} KiB, with gzip {usual}");
    Ok(())
}

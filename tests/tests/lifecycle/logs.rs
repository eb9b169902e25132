//! `mote logs` and `mote-agent ctl logs`, of real containers.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use mote_protocol::status::{ContainerState, Phase};
use mote_tests::host::memory;
use mote_tests::manifest::pod;
use mote_tests::node::Node;
use mote_tests::world::{BUSYBOX, World, container};

fn shell(script: &str) -> [&str; 3] {
    ["sh", "-c", script]
}

fn logs(world: &World, words: &[&str]) -> Result<String> {
    let words: Vec<_> = ["logs"].iter().chain(words).copied().collect();
    world.operator.run(&words)?.succeeded()
}

#[test]
fn of_a_finished_container() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    let script = "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done; echo last >&2";
    world.operator.apply(&pod("job").container("main", BUSYBOX, &shell(script)).once(), &node)?;
    world.wait_for_phase(&node, "job", Phase::Succeeded)?;
    let expected: Vec<_> = (0..3000).map(|line| format!("line {line}\n")).collect();
    let expected = expected.concat();
    let text = logs(&world, &["job"])?;
    // The two outputs are two pipes: which is read first is not said.
    ensure!(text.replacen("last\n", "", 1) == expected, "{} bytes", text.len());
    assert_eq!(node.ctl(&["logs", "job"])?, text);
    assert_eq!(logs(&world, &["job", "-f", "--limit-bytes", "4"])?.len(), 4);
    let tail = logs(&world, &["job", "--tail=2"])?;
    ensure!(tail.lines().count() == 2 && text.ends_with(&tail), "{tail}");
    assert_eq!(logs(&world, &["job", "--tail=0"])?, "");
    assert_eq!(logs(&world, &["job", "--since-time", "2100-01-01T00:00:00Z"])?, "");
    assert_eq!(logs(&world, &["job", "--since", "1h"])?, text);
    let timed = logs(&world, &["job", "--timestamps", "--tail=1"])?;
    let (time, line) = timed.split_once(' ').context("a time")?;
    ensure!(time.len() == 30 && time.ends_with('Z') && tail.ends_with(line), "{timed}");
    Ok(())
}

#[test]
fn of_the_attempt_before() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    // What lies in /dev/shm is the pod's, so that attempts can count themselves.
    let script = "n=$(cat /dev/shm/n 2> /dev/null || echo 0); echo $((n+1)) > /dev/shm/n; echo attempt $n; \
                  [ $n -eq 0 ] || exec sleep 1002; exit 3";
    world.operator.apply(&pod("web").container("main", BUSYBOX, &shell(script)), &node)?;
    world.wait_for(&node, "web", "a crash", |status| {
        container(status, "main").is_ok_and(|main| main.last.is_some())
    })?;
    // It waits, or runs again already: either way the first attempt is the one before.
    assert_eq!(logs(&world, &["web", "-p"])?, "attempt 0\n");
    world.wait_for(&node, "web", "its second attempt", |status| {
        container(status, "main").is_ok_and(|main| main.restarts == 1 && main.ready())
    })?;
    let follow = ["web", "-f", "--limit-bytes", "9"];
    assert_eq!(logs(&world, &follow)?, "attempt 1");
    assert_eq!(logs(&world, &["web", "-p"])?, "attempt 0\n");
    assert_eq!(node.ctl(&["logs", "-p", "web"])?, "attempt 0\n");

    world.operator.apply(&pod("calm").container("main", BUSYBOX, &["sleep", "1001"]), &node)?;
    world.wait_for_phase(&node, "calm", Phase::Running)?;
    let answer = world.operator.run(&["logs", "calm", "-p"])?;
    assert_eq!(answer.code, Some(1));
    assert_eq!(
        answer.error,
        "Error from server (BadRequest): previous terminated container \"main\" in pod \"calm\" not found\n"
    );
    Ok(())
}

#[test]
fn followed_through_rotations_to_the_end() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    // Three files' worth, in bursts of a sixth of a file: a reader may fall behind by more than one
    // file before anything is lost to it.
    let script = "i=0; while [ $i -lt 9000 ]; do echo \"number $i of a line that has some length \
                  to it\"; i=$((i+1)); [ $((i % 500)) -ne 0 ] || sleep 0.05; done; echo over";
    world.operator.apply(&pod("job").container("main", BUSYBOX, &shell(script)).once(), &node)?;
    world.wait_for(&node, "job", "it was started", |status| {
        container(status, "main")
            .is_ok_and(|main| !matches!(main.state, ContainerState::Waiting { .. }))
    })?;
    let expected: String = (0..9000)
        .map(|line| format!("number {line} of a line that has some length to it\n"))
        .chain(["over\n".to_owned()])
        .collect();
    let text = logs(&world, &["-f", "job"])?;
    ensure!(text == expected, "{} of {} bytes:\n{}", text.len(), expected.len(), &text[..80]);
    world.wait_for_phase(&node, "job", Phase::Succeeded)?;
    Ok(())
}

#[test]
fn of_two_containers() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    let two = pod("job")
        .init("first", BUSYBOX, &["echo", "prepared"])
        .container("one", BUSYBOX, &["echo", "eins"])
        .container("two", BUSYBOX, &["echo", "zwei"])
        .once();
    world.operator.apply(&two, &node)?;
    world.wait_for_phase(&node, "job", Phase::Succeeded)?;
    let answer = world.operator.run(&["logs", "job"])?;
    assert_eq!(answer.output, "eins\n");
    assert_eq!(answer.error, "Defaulted container \"one\" out of: one, two, first (init)\n");
    assert_eq!(logs(&world, &["job", "-c", "two"])?, "zwei\n");
    let all = ["job", "--all-containers", "--prefix"];
    let expected = "[pod/job/first] prepared\n[pod/job/one] eins\n[pod/job/two] zwei\n";
    assert_eq!(logs(&world, &all)?, expected);
    let words: Vec<_> = ["logs"].into_iter().chain(all).collect();
    assert_eq!(node.ctl(&words)?, expected);
    let followed = logs(&world, &["job", "-f", "--all-containers"])?;
    let mut lines: Vec<_> = followed.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["eins", "prepared", "zwei"]);
    Ok(())
}

#[test]
fn without_a_broker() -> Result<()> {
    let mut world = World::new()?;
    let node = world.node("n1")?;
    let script = "trap 'echo bye; exit 0' TERM; echo hello; while true; do sleep 0.1; done";
    world.operator.apply(&pod("web").container("main", BUSYBOX, &shell(script)), &node)?;
    world.wait_for_phase(&node, "web", Phase::Running)?;
    world.broker.stop()?;
    let mut follow = node.ctl_command(&["logs", "-f", "web"]);
    let mut follow = follow.stdout(Stdio::piped()).spawn()?;
    let mut lines = BufReader::new(follow.stdout.take().context("piped")?).lines();
    assert_eq!(lines.next().context("a line")??, "hello");
    let answer = node.ctl(&["logs", "web", "-p"]);
    let error = answer.expect_err("there is none before").to_string();
    ensure!(error.contains("previous terminated container \"main\" in pod \"web\""), "{error}");
    // Other questions are answered meanwhile.
    ensure!(node.ctl(&["pods"])?.contains("web"));
    follow.kill()?;
    follow.wait()?;
    Ok(())
}

#[test]
fn a_reader_that_is_slow_does_not_grow_the_agent() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    let script = "while true; do echo a line of a container that never stops talking; done";
    world.operator.apply(&pod("web").container("main", BUSYBOX, &shell(script)), &node)?;
    world.wait_for_phase(&node, "web", Phase::Running)?;
    // Two files' worth each, to the end.
    let read_much = || logs(&world, &["web", "--limit-bytes", "600000"]).map(drop);
    read_much()?;
    let alone = heap_kib(&node)?;
    let mut readers = Vec::new();
    for _ in 0..4 {
        let mut child = world.operator.command(&["logs", "-f", "web"]);
        let mut child = child.stdout(Stdio::piped()).spawn()?;
        // One byte: it reads, and then no more.
        child.stdout.as_mut().context("piped")?.read_exact(&mut [0])?;
        readers.push(child);
    }
    read_much()?;
    let before = heap_kib(&node)?;
    // Megabytes are written while the four do not read.
    for _ in 0..6 {
        read_much()?;
    }
    let after = heap_kib(&node)?;
    for mut child in readers {
        child.kill()?;
        child.wait()?;
    }
    println!(
        "the agent: {alone} KiB alone, {before} KiB with four slow readers, {after} KiB later"
    );
    ensure!(after < before + 512, "{before} KiB became {after} KiB");
    ensure!(after < alone + 4096, "{alone} KiB became {after} KiB with four readers");
    Ok(())
}

/// What it allocated. Its pages of the program are left out: they are its own or shared as other tests'
/// agents end and begin.
fn heap_kib(node: &Node) -> Result<u64> {
    Ok(memory(node.pid()?)?.anonymous_kib)
}

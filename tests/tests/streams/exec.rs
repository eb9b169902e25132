//! `mote exec` and `mote-agent ctl exec` without a terminal.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use mote_protocol::event::Event;
use mote_protocol::status::Phase;
use mote_tests::manifest::pod;
use mote_tests::operator::{Answer, answer};
use mote_tests::process::wait_for_exit;
use mote_tests::wait::Deadline;
use mote_tests::world::{BUSYBOX, World, topic};
use rustix::process::{Pid, Signal, kill_process};

use super::{allowing, idle, quick};

fn exec(world: &World, words: &[&str]) -> Result<Answer> {
    let words: Vec<_> = ["exec"].iter().chain(words).copied().collect();
    world.operator.run(&words)
}

#[test]
fn a_command_gives_its_outputs_and_its_exit_code() -> Result<()> {
    let world = World::new()?;
    let node = allowing(&world)?;
    idle(&world, &node, "web")?;
    let answer = exec(&world, &["web", "--", "sh", "-c", "echo out; echo err >&2; pwd; exit 7"])?;
    assert_eq!(answer.code, Some(7));
    assert_eq!(answer.output, "out\n/\n");
    assert_eq!(answer.error, "err\ncommand terminated with exit code 7\n");
    assert_eq!(exec(&world, &["pod/web", "-q", "--", "sh", "-c", "exit 3"])?.error, "");
    let answer = exec(&world, &["web", "--", "sh", "-c", "kill -9 $$"])?;
    assert_eq!(answer.code, Some(137));
    assert_eq!(exec(&world, &["web", "--", "cat"])?.succeeded()?, "", "no input but for -i");
    // What a command leaves behind does not hold up its end.
    assert_eq!(
        exec(&world, &["web", "--", "sh", "-c", "sleep 1002 & echo x"])?.succeeded()?,
        "x\n"
    );
    for left in ["yes", "while :; do echo; sleep 0.05; done"] {
        let script = format!("{left} & exit 4");
        assert_eq!(exec(&world, &["web", "--", "sh", "-c", &script])?.code, Some(4), "{left}");
    }
    let missing = exec(&world, &["web", "--", "nothing-of-the-kind"])?;
    assert_eq!(missing.code, Some(1));
    ensure!(missing.error.contains("`nothing-of-the-kind` is not in the image"), "{missing:?}");
    let none = exec(&world, &["web"])?;
    ensure!(none.code == Some(1) && none.error.contains("COMMAND"), "{none:?}");
    Ok(())
}

#[test]
fn input_comes_through_whole_and_ends() -> Result<()> {
    let world = quick()?;
    let node = allowing(&world)?;
    idle(&world, &node, "web")?;
    let lines: Vec<_> = (0..400_000).map(|number| format!("{number:09}\n")).collect();
    let text = lines.concat();
    let sum = ["exec", "-i", "web", "--", "sh", "-c", "md5sum; wc -c < /proc/self/stat"];
    let there = world.operator.run_with(&sum, &text)?.succeeded()?;
    let (there, _) = there.split_once(' ').context("a sum")?;
    let mut here = std::process::Command::new("md5sum");
    here.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    let here = answer(here, text.as_bytes())?.succeeded()?;
    ensure!(here.starts_with(there), "{here} {there}");
    let back = world.operator.run_with(&["exec", "-i", "web", "--", "cat"], &text)?.succeeded()?;
    ensure!(back == text, "{} of {} bytes came back", back.len(), text.len());
    // One that does not read all of it ends when it ends.
    let head = ["exec", "-i", "web", "--", "head", "-n1"];
    assert_eq!(world.operator.run_with(&head, &text)?.succeeded()?, "000000000\n");
    let local = answer(node.ctl_command(&["exec", "-i", "web", "--", "cat"]), text.as_bytes())?;
    ensure!(local.succeeded()? == text, "at the machine");
    Ok(())
}

#[test]
fn containers_are_chosen_and_refused_as_kubectl_does() -> Result<()> {
    let world = World::new()?;
    let node = allowing(&world)?;
    let sleep = ["sleep", "1001"];
    let two = pod("two").container("one", BUSYBOX, &sleep).container("other", BUSYBOX, &sleep);
    world.operator.apply(&two, &node)?;
    let named = pod("named").container("one", BUSYBOX, &sleep).container("other", BUSYBOX, &sleep);
    let named = named.annotation("kubectl.kubernetes.io/default-container", "other");
    world.operator.apply(&named, &node)?;
    let job = pod("job").container("main", BUSYBOX, &["true"]).once();
    world.operator.apply(&job, &node)?;
    let broken = pod("broken").container("main", "test.local/nothing:1", &sleep);
    world.operator.apply(&broken, &node)?;
    for name in ["two", "named"] {
        world.wait_for_phase(&node, name, Phase::Running)?;
    }
    // The first process of a container has its name as its argument.
    let which = ["--", "sh", "-c", "cat /proc/1/cgroup"];
    let of = |words: &[&str]| -> Result<(String, String)> {
        let words: Vec<_> = words.iter().chain(&which).copied().collect();
        let answer = exec(&world, &words)?;
        let error = answer.error.clone();
        Ok((answer.succeeded()?, error))
    };
    let defaulted = "Defaulted container \"one\" out of: one, other\n";
    assert_eq!(of(&["two"])?.1, defaulted);
    assert_eq!(of(&["two", "-q"])?.1, "");
    assert_eq!(of(&["two", "-c", "other"])?.1, "");
    assert_eq!(of(&["named"])?.1, "");
    let refused = |words: &[&str]| -> Result<String> {
        let words: Vec<_> = words.iter().chain(&["--", "true"]).copied().collect();
        exec(&world, &words)?.refused()
    };
    assert_eq!(refused(&["none"])?, "Error from server (NotFound): pods \"none\" not found\n");
    assert_eq!(refused(&["two", "-c", "x"])?, "error: container x is not valid for pod two\n");
    world.wait_for_phase(&node, "job", Phase::Succeeded)?;
    let over =
        "error: cannot exec into a container in a completed pod; current phase is Succeeded\n";
    assert_eq!(refused(&["job"])?, over);
    let waiting = "Error from server (NotFound): container not found (\"main\")\n";
    assert_eq!(refused(&["broken"])?, waiting);
    Ok(())
}

#[test]
fn a_node_that_was_not_told_so_refuses() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    idle(&world, &node, "web")?;
    let refused = exec(&world, &["web", "--", "true"])?;
    assert_eq!(refused.code, Some(1));
    assert_eq!(
        refused.error,
        "Error from server (Forbidden): node n1 does not allow this: it takes `exec = true` in \
         section [streams] of its configuration\n"
    );
    // Root can enter any container anyway.
    assert_eq!(node.ctl(&["exec", "web", "--", "echo", "here"])?, "here\n");
    Ok(())
}

#[test]
fn events_tell_who_did_what() -> Result<()> {
    let world = World::new()?;
    let node = allowing(&world)?;
    idle(&world, &node, "web")?;
    let mut command = world.operator.command(&["exec", "web", "--", "echo", "a\nb"]);
    command.env("USER", "alice");
    answer(command, b"")?.succeeded()?;
    let told = world.wait_for_event(&node, "Exec")?;
    ensure!(told.starts_with("alice@") && told.contains("(mote-"), "{told}");
    ensure!(told.ends_with("executed in container main: echo a\\nb"), "{told}");
    let events: Vec<Event> = world.observer.look(|view| view.bodies(&topic(&node, "event")));
    let event = events.iter().find(|event| event.reason == *"Exec").context("seen before")?;
    ensure!(format!("{event:?}").contains("\"web\""), "{event:?}");
    Ok(())
}

#[test]
fn a_command_ends_with_its_operator() -> Result<()> {
    let world = World::new()?;
    let node = allowing(&world)?;
    idle(&world, &node, "web")?;
    let reads =
        ["exec", "-i", "web", "--", "sh", "-c", "echo up; cat > /dev/null; sleep 0.01; exit 0"];
    let ignores =
        ["exec", "-i", "web", "--", "sh", "-c", "trap '' HUP PIPE; echo up; exec sleep 1003"];
    for (words, line) in [(reads, "cat > /dev/null; sleep 0.01; exit 0"), (ignores, "sleep 1003")] {
        let mut command = world.operator.command(&words);
        let mut operator = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut printed = BufReader::new(operator.stdout.take().context("piped")?);
        let mut up = String::new();
        printed.read_line(&mut up)?;
        assert_eq!(up, "up\n");
        operator.stdin.as_ref().context("piped")?.write_all(b"something")?;
        let pid = node.process(line)?;
        operator.kill()?;
        operator.wait()?;
        wait_for_exit(pid, Deadline::patient())?;
    }
    Ok(())
}

#[test]
fn a_command_ends_with_its_operator_in_the_middle_of_its_input() -> Result<()> {
    let world = World::new()?;
    let node = allowing(&world)?;
    idle(&world, &node, "web")?;
    let script = "echo up; cat > /dev/null; sleep 0.02; exit 0";
    let mut command = world.operator.command(&["exec", "-i", "web", "--", "sh", "-c", script]);
    let endless = File::open("/dev/zero")?;
    let mut operator = command.stdin(endless).stdout(Stdio::piped()).spawn()?;
    let mut printed = BufReader::new(operator.stdout.take().context("piped")?);
    printed.read_line(&mut String::new())?;
    let pid = node.process("sleep 0.02; exit 0")?;
    kill_process(Pid::from_child(&operator), Signal::INT)?;
    assert_eq!(operator.wait()?.code(), Some(130));
    // Long before the node would find that nobody is heard.
    wait_for_exit(pid, Deadline::after(Duration::from_secs(30)))?;
    Ok(())
}

#[test]
fn at_the_machine() -> Result<()> {
    let mut world = World::new()?;
    let node = world.node("n1")?;
    idle(&world, &node, "web")?;
    world.broker.stop()?;
    let ctl = |words: &[&str], input: &[u8]| answer(node.ctl_command(words), input);
    let answer = ctl(&["exec", "web", "--", "sh", "-c", "echo out; echo err >&2; exit 9"], b"")?;
    assert_eq!((answer.code, &*answer.output), (Some(9), "out\n"));
    assert_eq!(answer.error, "err\ncommand terminated with exit code 9\n");
    let cat = ["exec", "-i", "default/web", "-c", "main", "--", "cat"];
    assert_eq!(ctl(&cat, b"typed")?.succeeded()?, "typed");
    let none = ctl(&["exec", "none", "--", "true"], b"")?.refused()?;
    assert_eq!(none, "mote-agent ctl: pod \"default/none\" not found\n");
    let none = ctl(&["exec", "web", "-c", "x", "--", "true"], b"")?.refused()?;
    assert_eq!(none, "mote-agent ctl: container x is not valid for pod web\n");
    assert_eq!(ctl(&["exec", "web"], b"")?.code, Some(64));
    ensure!(node.ctl(&["events"])?.contains("root at the machine executed in container main: cat"));
    let mut command =
        node.ctl_command(&["exec", "-i", "web", "--", "sh", "-c", "echo; exec sleep 1004"]);
    let mut person = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut printed = BufReader::new(person.stdout.take().context("piped")?);
    printed.read_line(&mut String::new())?;
    let pid = node.process("sleep 1004")?;
    person.kill()?;
    person.wait()?;
    wait_for_exit(pid, Deadline::patient())?;
    Ok(())
}

//! Whether the simulator would notice: the node is broken on purpose, in one way after the other, and
//! each must be caught.
//!
//! The agent's source is copied, every variant is written into the copy, and an environment variable
//! chooses one of them: one build for all. A variant whose text is not found any more fails, so that
//! the list keeps up with the source.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Write as _, stdout};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use mote_tests::binaries;
use serde::Deserialize;

mod variants;

use variants::VARIANTS;

/// A variant must be caught within so many histories: those that CI runs.
const HISTORIES: u32 = 10_000;

/// Histories are run in groups that end at these: most variants are caught early.
const STEPS: [u32; 3] = [100, 1_000, HISTORIES];

/// The agent's package, and what the copy's is called: cargo puts programs side by side by their
/// package's name, and nobody else must be given the broken one.
const AGENT: &str = "mote-agent";
const RENAMED: &str = "mote-agent-variants";

/// Names the variant that a copy of the node is.
const CHOOSES: &str = "MOTE_VARIANT";

/// What the copy has beside its source: whether a variant is on.
const SWITCH: &str = "
#[doc(hidden)]
pub fn is_variant(name: &str) -> bool {
    static CHOSEN: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    CHOSEN.get_or_init(|| std::env::var(\"MOTE_VARIANT\").unwrap_or_default()) == name
}
";

/// A line of cargo's report.
#[derive(Deserialize)]
struct Artifact {
    target: Option<Target>,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

#[test]
#[ignore = "builds the agent once more"]
fn every_broken_variant_of_the_node_is_caught() -> Result<()> {
    let copy = binaries::target_directory()?.join("variants");
    write_variants(&copy)?;
    let simulator = build(&copy)?;
    let (caught, said) = run(&simulator, "none of them", 0, STEPS[0])?;
    ensure!(!caught, "the node itself is caught:\n{said}");
    let mut missed = Vec::new();
    for variant in VARIANTS {
        match seeds_until_caught(&simulator, variant.name)? {
            // Past the capture of tests that pass: `cargo verify` shows it.
            Some((seed, violation)) => {
                let name = variant.name;
                writeln!(stdout(), "\nfigure: {name:<40} seed {seed:>5}: {violation}")?;
            }
            None => missed.push(variant.name),
        }
    }
    ensure!(missed.is_empty(), "not caught within {HISTORIES} histories: {missed:?}");
    Ok(())
}

/// The first seed that shows that a variant is broken, and how.
fn seeds_until_caught(simulator: &Path, variant: &str) -> Result<Option<(u32, String)>> {
    let mut first = 0;
    for end in STEPS {
        let (caught, said) = run(simulator, variant, first, end - first)?;
        if caught {
            let seed = said.split("repeat it: MOTE_SEED=").nth(1);
            let seed = seed.and_then(|text| text.split(' ').next()?.parse().ok());
            let seed = seed.with_context(|| format!("{variant} names no seed:\n{said}"))?;
            let before = said.split("\nrepeat it:").next().unwrap_or_default();
            let violation = before.lines().last().unwrap_or_default().to_owned();
            return Ok(Some((seed, violation)));
        }
        first = end;
    }
    Ok(None)
}

/// Runs histories; whether a promise was broken, and what was said of it.
fn run(simulator: &Path, variant: &str, first: u32, count: u32) -> Result<(bool, String)> {
    let output = Command::new(simulator)
        .arg("the_node_keeps_its_promises_in_every_history")
        .env(CHOOSES, variant)
        .env("MOTE_FIRST_SEED", first.to_string())
        .env("MOTE_SEEDS", count.to_string())
        .env("RUST_BACKTRACE", "0")
        .env_remove("MOTE_SEED")
        .output()
        .context("run the simulator")?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok((!output.status.success(), said))
}

/// A text with a part of it exchanged that it has once.
fn exchange(text: &str, says: &str, instead: &str) -> Result<String> {
    let found = text.matches(says).count();
    ensure!(found == 1, "`{says}` is there {found} times");
    Ok(text.replace(says, instead))
}

/// Leaves alone what is as it should be: cargo goes by the time. Never writes through a link, which leads
/// to the source itself.
fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    if path.is_symlink() {
        fs::remove_file(path).with_context(|| format!("remove {}", path.display()))?;
    }
    if fs::read(path).is_ok_and(|before| before == bytes) {
        return Ok(());
    }
    fs::write(path, bytes).with_context(|| format!("write {}", path.display()))
}

/// Makes a workspace that is this one, but for the agent's source.
fn write_variants(copy: &Path) -> Result<()> {
    let root = binaries::workspace();
    fs::create_dir_all(copy).with_context(|| format!("create {}", copy.display()))?;
    fs::copy(root.join("Cargo.lock"), copy.join("Cargo.lock")).context("copy Cargo.lock")?;
    let manifest = fs::read_to_string(root.join("Cargo.toml")).context("read Cargo.toml")?;
    let path = format!("{AGENT} = {{ path = \"agent\"");
    let manifest = exchange(&manifest, &path, &format!("{path}, package = \"{RENAMED}\""))?;
    let manifest =
        exchange(&manifest, &format!("{AGENT}.opt-level"), &format!("{RENAMED}.opt-level"))?;
    write(&copy.join("Cargo.toml"), manifest.as_bytes())?;
    for name in ["cross", "fleet", "pause", "protocol", "registry", "tests"] {
        link(&root.join(name), &copy.join(name))?;
    }
    let agent = copy.join("agent");
    fs::create_dir_all(&agent).context("create the agent's package")?;
    for name in ["build.rs", "tests"] {
        link(&root.join("agent").join(name), &agent.join(name))?;
    }
    let manifest = fs::read_to_string(root.join("agent/Cargo.toml")).context("read Cargo.toml")?;
    let name = |of: &str| format!("name = \"{of}\"");
    let manifest = exchange(&manifest, &name(AGENT), &name(RENAMED))?;
    let manifest = format!("{manifest}\n[lib]\n{}\n", name("mote_agent"));
    write(&agent.join("Cargo.toml"), manifest.as_bytes())?;
    let changed = changed_files(&root.join("agent/src"))?;
    write_source(&root.join("agent/src"), &agent.join("src"), Path::new(""), &changed)
}

fn link(to: &Path, from: &Path) -> Result<()> {
    let _ = fs::remove_file(from);
    symlink(to, from).with_context(|| format!("link {}", from.display()))
}

/// The files that variants change, with all that they change.
fn changed_files(source: &Path) -> Result<BTreeMap<PathBuf, String>> {
    let mut files = BTreeMap::new();
    for variant in VARIANTS {
        let file = PathBuf::from(variant.file);
        let text = match files.remove(&file) {
            Some(text) => text,
            None => fs::read_to_string(source.join(&file))
                .with_context(|| format!("read {}", file.display()))?,
        };
        let chosen = format!("crate::is_variant({:?})", variant.name);
        let instead = variant.instead.replace("BROKEN", &chosen);
        let text = exchange(&text, variant.says, &instead).context(variant.name)?;
        files.insert(file, text);
    }
    let library = fs::read_to_string(source.join("lib.rs")).context("read lib.rs")?;
    files.insert("lib.rs".into(), library + SWITCH);
    Ok(files)
}

/// Writes the source.
fn write_source(
    from: &Path,
    to: &Path,
    below: &Path,
    changed: &BTreeMap<PathBuf, String>,
) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("create {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("read {}", from.display()))? {
        let entry = entry?;
        let (name, to) = (below.join(entry.file_name()), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            write_source(&entry.path(), &to, &name, changed)?;
            continue;
        }
        let text = match changed.get(&name) {
            Some(text) => text.clone().into_bytes(),
            None => fs::read(entry.path())?,
        };
        write(&to, &text)?;
    }
    Ok(())
}

/// Builds the copy's simulator, with what was built for this workspace; tells where it is.
fn build(copy: &Path) -> Result<PathBuf> {
    let target = binaries::target_directory()?;
    let target = target.parent().context("a profile is in a target directory")?;
    let output = binaries::cargo()
        .current_dir(copy)
        // All members, so that dependencies have the features that they have here.
        .args(["test", "--offline", "--workspace", "--test", "simulator", "--no-run", "--quiet"])
        .args(["--message-format", "json-render-diagnostics"])
        .arg("--target-dir")
        .arg(target)
        .stderr(Stdio::inherit())
        .output()
        .context("start cargo")?;
    ensure!(output.status.success(), "the variants do not build");
    let lines = String::from_utf8_lossy(&output.stdout);
    let artifacts = lines.lines().filter_map(|line| serde_json::from_str::<Artifact>(line).ok());
    let is_simulator =
        |artifact: &Artifact| artifact.target.as_ref().is_some_and(|t| t.name == "simulator");
    let built = artifacts.filter(is_simulator).find_map(|artifact| artifact.executable);
    built.context("cargo names no simulator")
}

//! The runner behind `cargo verify`: builds everything once, runs each group of tests, reports all
//! that failed.
//!
//! Test programs are built by one cargo call for the whole workspace and then run directly, so
//! that nothing is compiled twice and no test waits for cargo. What a group needs of the machine
//! is installed first where it can be. The last line is `N passed, N failed`; the exit code says
//! the same.

mod build;
mod groups;
mod libtest;
mod needs;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Parser;
use mote_cross::target::Target;

use build::Built;
use groups::{Check, GROUPS, Group};
pub use libtest::say;
use report::Report;

use crate::binaries;
use crate::process::{Process, command};
use crate::wait::Deadline;

/// Histories of the simulator under `--long`.
const LONG_SEEDS: &str = "1000000";

/// Runs the project's tests.
#[derive(Debug, Parser)]
#[command(name = "cargo verify", bin_name = "cargo verify")]
pub struct Options {
    /// Run only this group; may be repeated.
    #[arg(long, value_name = "GROUP")]
    only: Vec<String>,
    /// Name the groups and end.
    #[arg(long)]
    list: bool,
    /// Large counts, no budgets: for a night, not for a change.
    #[arg(long)]
    long: bool,
}

/// A test program of the workspace, for tests that watch another one at work.
pub fn program(package: &str, target: &str) -> Result<PathBuf> {
    let programs = build::build()?.programs;
    let found = programs.into_iter().find(|one| one.package == package && one.target == target);
    Ok(found.with_context(|| format!("no test program {package}/{target}"))?.executable)
}

/// Runs what `options` ask for.
pub fn run(options: &Options) -> Result<ExitCode> {
    if options.list {
        for group in GROUPS {
            let apart = groups::APART.contains(&group.name);
            let apart = if apart { " (named, or with --long)" } else { "" };
            println!("{:<12} {}{apart}", group.name, group.about);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let groups = chosen(&options.only, options.long)?;
    let mut report = Report::default();
    let able = prepare(&groups, &mut report);
    let started = Instant::now();
    match build::build() {
        Ok(built) => {
            report.spent("build", groups::BUILD_BUDGET, started.elapsed(), options.long);
            for program in built.unclaimed() {
                report.problem("groups", &format!("{program} belongs to no group"));
            }
            let first = able.iter().position(|group| !group.releases.is_empty());
            let releases = releases(&able);
            for (place, group) in able.into_iter().enumerate() {
                if first == Some(place) {
                    build_releases(&releases, options.long, &mut report);
                }
                run_group(group, &built, options.long, &mut report);
            }
        }
        Err(error) => report.problem("build", &format!("{error:#}")),
    }
    Ok(report.close())
}

fn chosen(names: &[String], long: bool) -> Result<Vec<&'static Group>> {
    if names.is_empty() {
        let usual = |group: &&Group| long || !groups::APART.contains(&group.name);
        return Ok(GROUPS.iter().filter(usual).collect());
    }
    for name in names {
        if !GROUPS.iter().any(|group| group.name == name) {
            bail!("there is no group `{name}`; `cargo verify --list` names them");
        }
    }
    Ok(GROUPS.iter().filter(|group| names.iter().any(|name| name == group.name)).collect())
}

/// Installs what is missing; gives the groups that can run.
fn prepare(groups: &[&'static Group], report: &mut Report) -> Vec<&'static Group> {
    let wanted: Vec<_> = groups.iter().flat_map(|group| group.needs).copied().collect();
    needs::install(&wanted);
    let mut able = Vec::new();
    for group in groups {
        let missing = needs::missing(group.needs);
        if group.root && !rustix::process::geteuid().is_root() {
            report.problem(group.name, "needs root: sudo -E env PATH=\"$PATH\" cargo verify");
        } else if missing.is_empty() {
            able.push(*group);
        } else {
            report.problem(group.name, &needs::advice(&missing));
        }
    }
    able
}

/// For what groups have the agent as it is shipped, each once.
fn releases(groups: &[&Group]) -> Vec<Target> {
    let wanted = |target: &Target| groups.iter().any(|group| group.releases.contains(target));
    Target::ALL.into_iter().filter(wanted).collect()
}

/// Builds what some groups run, whose own budgets are for what they do with it.
fn build_releases(targets: &[Target], long: bool, report: &mut Report) {
    let started = Instant::now();
    if let Err(error) = mote_cross::release::agents(targets) {
        report.problem("releases", &format!("{error:#}"));
    }
    report.spent("releases", groups::RELEASES_BUDGET, started.elapsed(), long);
}

fn run_group(group: &Group, built: &Built, long: bool, report: &mut Report) {
    println!("\n{}: {}", group.name, group.about);
    let started = Instant::now();
    for check in group.checks {
        run_check(group, check, report);
    }
    let programs: Vec<_> = built.programs.iter().filter(|program| (group.owns)(program)).collect();
    if programs.is_empty() && group.checks.is_empty() {
        report.problem(group.name, "has no tests");
    }
    for program in programs {
        let limit = report.left(group.part, long);
        let mut start = command(&program.executable);
        start.current_dir(&program.directory).env(binaries::DIRECTORY, &built.directory);
        start.env("PATH", needs::path());
        if let Some(threads) = group.threads {
            start.env("RUST_TEST_THREADS", threads.to_string());
        }
        // What `cargo test` leaves out because it takes long.
        if group.ignored {
            start.arg("--include-ignored");
        }
        if long {
            start.env("MOTE_LONG", "1").env("MOTE_SEEDS", LONG_SEEDS);
        }
        let outcome = run_tests(&program.label(), &mut start, limit);
        report.tests(group.name, &program.label(), outcome);
    }
    report.spent(group.part.name, group.part.budget, started.elapsed(), long);
}

fn run_check(group: &Group, check: &Check, report: &mut Report) {
    let status = binaries::cargo().args(check.arguments).status();
    let passed = status.is_ok_and(|status| status.success());
    report.check(group.name, check.name, passed);
}

fn run_tests(
    name: &str,
    start: &mut std::process::Command,
    limit: Duration,
) -> Result<libtest::Outcome> {
    let begin = Instant::now();
    let mut process = Process::spawn(name, start)?;
    let ended = process.wait_until(Deadline::after(limit));
    if ended.is_err() {
        process.kill()?;
    }
    process.drain()?;
    let time = begin.elapsed();
    Ok(libtest::Outcome::read(&process.log(), ended.ok(), time))
}

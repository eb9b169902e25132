//! Attacks on what happens in an instant, or later.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use crate::attempts::HERE;
use crate::kernel::{RENAMEAT2, TRUNCATE, call, name_of, text};

/// Exchanges `real` for each of the other names of a directory, over and over.
pub fn swap(directory: &str) -> io::Result<()> {
    const EXCHANGE: usize = 2;
    let names = fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name()));
    let names = names.collect::<io::Result<Vec<_>>>()?;
    let names = names.iter().filter_map(|name| name.to_str());
    let others: Vec<_> = names
        .filter(|name| *name != "real")
        .map(|name| text(&format!("{directory}/{name}")))
        .collect();
    let real = text(&format!("{directory}/real"));
    println!("swapping with {} others", others.len());
    loop {
        for other in &others {
            // There and back again, so that each of the others has its turn.
            for _ in 0..2 {
                let (real, other) = (real.as_ptr().addr(), other.as_ptr().addr());
                call(RENAMEAT2, &[HERE, real, HERE, other, EXCHANGE])?;
            }
        }
    }
}

/// Looks at every process that appears, and tells of what must not be reachable: a program that no
/// container of ours has, and files of the agent.
pub fn watch(report: &mut dyn Write) -> io::Result<()> {
    // Programs are told by their size: the same file has other numbers in another container.
    let own = [fs::metadata("/attacker")?.len(), fs::metadata("/bin/busybox")?.len()];
    let mut seen = BTreeSet::new();
    let mut found = BTreeSet::new();
    while !Path::new("/enough").exists() {
        for entry in fs::read_dir("/proc")?.filter_map(Result::ok) {
            let name = entry.file_name();
            let number = name.to_str().and_then(|name| name.parse::<u32>().ok());
            if let Some(number) = number.filter(|number| *number != std::process::id()) {
                seen.insert(number);
                look_at(&entry.path(), &own, &mut found);
            }
        }
    }
    found.iter().try_for_each(|what| writeln!(report, "reached {what}"))?;
    writeln!(report, "saw {}", seen.len())?;
    report.flush()
}

fn look_at(process: &Path, own: &[u64], found: &mut BTreeSet<String>) {
    if let Ok(program) = File::open(process.join("exe"))
        && let Ok(metadata) = program.metadata()
        && !own.contains(&metadata.len())
    {
        let again = format!("/proc/self/fd/{}", program.as_raw_fd());
        let written = File::options().write(true).open(again).map(drop);
        let written = written.map_or_else(|error| name_of(&error), |()| "writable".into());
        found.insert(format!("a program of {} bytes, {written}", metadata.len()));
    }
    for file in fs::read_dir(process.join("fd")).into_iter().flatten().filter_map(Result::ok) {
        if let Ok(target) = fs::read_link(file.path())
            && target.display().to_string().contains("mote")
        {
            found.insert(format!("the file {}", target.display()));
        }
    }
}

/// Tries everything on a file that is open, says so by a file `/ready`, waits for a file `/go`, and
/// tries again. Nothing is destroyed where it succeeds: what would be written is there already.
pub fn pry(link: &str, report: &str) -> io::Result<()> {
    let mut report = File::create(report)?;
    pry_once("before", link, &mut report)?;
    File::create("/ready")?;
    while !Path::new("/go").exists() {
        sleep(Duration::from_millis(20));
    }
    pry_once("after", link, &mut report)
}

fn pry_once(when: &str, link: &str, report: &mut File) -> io::Result<()> {
    let metadata = fs::metadata(link)?;
    let size = usize::try_from(metadata.len()).map_err(io::Error::other)?;
    let tried = [
        ("write", File::options().write(true).open(link).map(drop)),
        ("append", File::options().append(true).open(link).map(drop)),
        ("truncate", call(TRUNCATE, &[text(link).as_ptr().addr(), size]).map(drop)),
        ("chmod", fs::set_permissions(link, metadata.permissions())),
    ];
    for (name, result) in tried {
        let outcome = result.map_or_else(|error| name_of(&error), |()| "done".into());
        let line = format!("{when} {name} {outcome}\n");
        report.write_all(line.as_bytes())?;
        print!("{line}");
    }
    io::stdout().flush()
}

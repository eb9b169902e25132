//! Gives memory back that only was needed for a while.

use std::fs;
use std::io;

/// Unmaps the pages of this program's own code and constants: what is needed again is mapped again
/// from the page cache, without reading the card, at a fraction of a microsecond a page.
///
/// Starting and connecting touch most of the program; an agent at rest needs a tenth of it, and
/// what no process maps the kernel can drop first when memory is short.
pub fn give_back_program() -> io::Result<()> {
    let maps = fs::read_to_string("/proc/self/maps")?;
    let program = fs::read_link("/proc/self/exe")?;
    let program = program.to_string_lossy();
    for (start, len) in unwritten(&maps, &program) {
        // SAFETY: the range is a whole private mapping of a file that was never written to (it is
        // executable, or read-only and before the executable part, where no relocation is), so
        // dropping its pages loses nothing: the next access maps them from the file again.
        let done = unsafe {
            libc::madvise(std::ptr::with_exposed_provenance_mut(start), len, libc::MADV_DONTNEED)
        };
        if done < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Start and length of the program's mappings, by `/proc/PID/maps` (proc(5)), up to and with its
/// executable one. What follows may hold relocated pointers, which are not in the file.
fn unwritten<'a>(maps: &'a str, program: &'a str) -> impl Iterator<Item = (usize, usize)> + 'a {
    let mut behind = false;
    let own = maps.lines().filter_map(move |line| {
        let mut fields = line.split_ascii_whitespace();
        let (range, rights) = (fields.next()?, fields.next()?);
        let path = line.get(line.find('/')?..)?;
        (path == program).then_some((range, rights))
    });
    own.filter_map(move |(range, rights)| {
        let wanted = !behind && matches!(rights, "r--p" | "r-xp");
        behind |= rights != "r--p";
        let (start, end) = range.split_once('-').filter(|_| wanted)?;
        let parse = |text| usize::from_str_radix(text, 16).ok();
        let (start, end) = (parse(start)?, parse(end)?);
        Some((start, end.checked_sub(start)?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_never_written_is_given_back() {
        let maps = "\
1000-2000 r--p 00000000 08:01 7 /usr/bin/mote-agent
2000-5000 r-xp 00001000 08:01 7 /usr/bin/mote-agent
5000-6000 r--p 00004000 08:01 7 /usr/bin/mote-agent
6000-7000 rw-p 00005000 08:01 7 /usr/bin/mote-agent
8000-9000 rw-p 00000000 00:00 0
a000-b000 r-xp 00000000 08:01 9 /usr/lib/libc.so
";
        let given: Vec<_> = unwritten(maps, "/usr/bin/mote-agent").collect();
        assert_eq!(given, [(0x1000, 0x1000), (0x2000, 0x3000)]);
        assert_eq!(unwritten(maps, "/usr/bin/other").count(), 0);
        let writable = "1000-2000 rwxp 00000000 08:01 7 /p\n2000-3000 r-xp 00000000 08:01 7 /p\n";
        assert_eq!(unwritten(writable, "/p").count(), 0);
    }

    #[test]
    fn the_program_goes_on_afterwards() {
        give_back_program().expect("the kernel takes the advice");
        assert_eq!("still here".len(), 10);
    }
}

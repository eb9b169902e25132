//! What the kernel says of the use of a cgroup. PURE.

/// The number that a file holds.
pub(super) fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// A number out of a file with one name and number a line.
pub(super) fn field(text: &str, name: &str) -> Option<u64> {
    let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    found.and_then(number)
}

/// Pages of files that nobody used lately, in a `memory.stat`: the kernel takes those back first, so
/// that the kubelet does not count them as used.
pub(super) fn inactive_file(text: &str, v2: bool) -> u64 {
    let name = if v2 { "inactive_file" } else { "total_inactive_file" };
    field(text, name).unwrap_or(0)
}

/// What else the kernel can take back, in a `memory.stat` of v2.
pub(super) fn droppable(text: &str) -> u64 {
    let number = |name| field(text, name).unwrap_or(0);
    number("active_file").saturating_add(number("slab_reclaimable"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_pages_are_found_under_the_names_of_both_versions() {
        let v1 = "cache 9\ninactive_file 4\ntotal_cache 90\ntotal_inactive_file 40\n";
        let v2 = "anon 7\ninactive_file 4096\nactive_file 1\n";
        assert_eq!((inactive_file(v1, false), inactive_file(v2, true)), (40, 4096));
        assert_eq!(inactive_file("", true), 0);
        assert_eq!(droppable("inactive_file 7\nactive_file 4096\nslab_reclaimable 5\n"), 4101);
        assert_eq!(droppable(""), 0);
        assert_eq!(field("usage_usec 12\nuser_usec 7\n", "usage_usec"), Some(12));
        assert_eq!((number("42\n"), number("max\n")), (Some(42), None));
    }
}

//! What machine this is: facts that hold until the next boot.
//!
//! Everything is read below a root directory, so that a test can lay out a machine of its own.
//! What cannot be read is left empty: a board without a serial number is a board all the same.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use mote_protocol::name::{NodeName, Uid};
use mote_protocol::node::{NodeInfo, Word};
use mote_protocol::text::Short;

use ring::digest::{Context, SHA256};

use super::presence::Board;

/// Longest of the small files read here; os-release(5) is the longest of them.
const MAX_FILE: u64 = 16 * 1024;

/// Sources of a board's name and serial number: device tree first, then what PC firmware says.
const MODELS: [&str; 2] = ["proc/device-tree/model", "sys/class/dmi/id/product_name"];
const SERIALS: [&str; 2] = ["proc/device-tree/serial-number", "sys/class/dmi/id/product_serial"];

/// The machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Versions and hardware.
    pub info: NodeInfo,
    /// What tells it, and its boots, from others.
    pub board: Board,
}

impl Machine {
    /// Reads the machine below `root` (`/`). The state directory is part of the identity: two
    /// agents on one machine are two boards. Architecture and variant are Go's names.
    pub fn read(root: &Path, state_dir: &Path, (architecture, variant): (&str, &str)) -> Self {
        let files = Files { root: root.to_owned() };
        let machine_id = hexadecimal(&files.text("etc/machine-id"));
        let boot_id = files.text("proc/sys/kernel/random/boot_id").parse::<Uid>();
        let serial = files.first(SERIALS);
        let kernel = rustix::system::uname();
        let info = NodeInfo {
            agent: Short::new(concat!("v", env!("CARGO_PKG_VERSION"))),
            runtime: Short::new("libcontainer://0.7.0"),
            kernel: Short::new(&kernel.release().to_string_lossy()),
            os_image: pretty_name(&files.text("etc/os-release")),
            architecture: Short::new(architecture),
            variant: Short::new(variant),
            machine_id,
            board: Short::new(&files.first(MODELS)),
            serial: Short::new(&serial),
        };
        let identity = identity(&machine_id, &serial, state_dir);
        let boot_id = boot_id.map_or([0; 16], |Uid(bytes)| bytes);
        Self { info, board: Board { identity, boot_id } }
    }
}

/// The board's serial number, of the machine below `root`; none where it has none.
pub fn serial(root: &Path) -> Option<String> {
    let serial = Files { root: root.to_owned() }.first(SERIALS);
    (!serial.is_empty()).then_some(serial)
}

/// A board's name towards the broker. It contains the boot: cards that were copied have the same
/// identity, and boards with one client id throw each other out. The agent asks for a new session
/// at each of its starts anyway.
pub fn client_id(node: &NodeName, board: &Board) -> String {
    let mut id = format!("mote-{node}-");
    for byte in hash(&[&board.identity, &board.boot_id]) {
        // Writing to a String cannot fail.
        let _ = write!(id, "{byte:02x}");
    }
    id
}

fn identity(machine_id: &[u8; 16], serial: &str, state_dir: &Path) -> [u8; 8] {
    let state_dir = state_dir.as_os_str().as_encoded_bytes();
    hash(&[machine_id, b"\0", serial.as_bytes(), b"\0", state_dir])
}

/// The first eight bytes of a SHA-256.
fn hash(parts: &[&[u8]]) -> [u8; 8] {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(part);
    }
    context.finish().as_ref().first_chunk().copied().unwrap_or_default()
}

struct Files {
    root: PathBuf,
}

impl Files {
    /// The text of a small file without what is around it (device tree strings end in NUL).
    fn text(&self, name: &str) -> String {
        let mut bytes = Vec::new();
        let file = File::open(self.root.join(name));
        let read = file.and_then(|file| file.take(MAX_FILE).read_to_end(&mut bytes));
        if read.is_err() {
            return String::new();
        }
        let text = String::from_utf8_lossy(&bytes);
        text.trim_matches(|character: char| character == '\0' || character.is_whitespace()).into()
    }

    fn first(&self, names: [&str; 2]) -> String {
        names
            .into_iter()
            .map(|name| self.text(name))
            .find(|text| !text.is_empty())
            .unwrap_or_default()
    }
}

fn pretty_name(os_release: &str) -> Word {
    let value = os_release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    Short::new(value.unwrap_or_default().trim_matches(['"', '\'']))
}

fn hexadecimal(text: &str) -> [u8; 16] {
    u128::from_str_radix(text, 16).map(u128::to_be_bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const ARM: (&str, &str) = ("arm64", "v8");

    fn write(root: &Path, name: &str, text: &str) {
        let path = root.join(name);
        fs::create_dir_all(path.parent().expect("below the root")).expect("created");
        fs::write(path, text).expect("written");
    }

    fn board() -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("temporary directory");
        write(root.path(), "etc/machine-id", "000102030405060708090a0b0c0d0e0f\n");
        write(root.path(), "etc/os-release", "NAME=x\nPRETTY_NAME=\"Debian GNU/Linux 12\"\n");
        write(root.path(), "proc/device-tree/model", "Raspberry Pi Zero 2 W Rev 1.0\0");
        write(root.path(), "proc/device-tree/serial-number", "00000000abcdef01\0");
        let boot_id = "00112233-4455-6677-8899-aabbccddeeff\n";
        write(root.path(), "proc/sys/kernel/random/boot_id", boot_id);
        root
    }

    #[test]
    fn a_board_says_what_it_is() {
        let root = board();
        let machine = Machine::read(root.path(), Path::new("/var/lib/mote"), ARM);
        assert!(machine.info.agent.starts_with('v'), "as Kubernetes writes versions");
        assert_eq!(machine.info.os_image, "Debian GNU/Linux 12");
        assert_eq!(machine.info.board, "Raspberry Pi Zero 2 W Rev 1.0");
        assert_eq!(machine.info.serial, "00000000abcdef01");
        assert_eq!(machine.info.machine_id[..3], [0, 1, 2]);
        assert_eq!(machine.board.boot_id[..3], [0, 0x11, 0x22]);
        assert!(!machine.info.kernel.is_empty() && machine.info.architecture == "arm64");
    }

    #[test]
    fn identities_differ_by_machine_serial_and_state_directory() {
        let root = board();
        let state = Path::new("/var/lib/mote");
        let first = Machine::read(root.path(), state, ARM);
        assert_eq!(first, Machine::read(root.path(), state, ARM));
        assert_ne!(first.board, Machine::read(root.path(), Path::new("/other"), ARM).board);
        write(root.path(), "proc/device-tree/serial-number", "00000000abcdef02\0");
        assert_ne!(first.board, Machine::read(root.path(), state, ARM).board);
    }

    #[test]
    fn a_machine_that_tells_nothing_is_a_machine() {
        let root = tempfile::tempdir().expect("temporary directory");
        let machine = Machine::read(root.path(), Path::new("/s"), ARM);
        assert_eq!(machine.info.machine_id, [0; 16]);
        assert_eq!(machine.info.board, "");
    }

    #[test]
    fn client_ids_differ_by_boot_and_are_short() {
        let node = NodeName::new("n").expect("valid");
        let board = Board { identity: [1; 8], boot_id: [2; 16] };
        let id = client_id(&node, &board);
        assert_eq!(id.len(), "mote-n-".len() + 16, "{id}");
        assert_ne!(id, client_id(&node, &Board { boot_id: [3; 16], ..board }));
    }
}

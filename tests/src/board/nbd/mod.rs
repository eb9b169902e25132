//! A card as a network block device, for an emulator on this machine.
//!
//! As much of NBD's protocol (fixed newstyle) as QEMU asks for, over a unix socket, for one client.
//! The card itself is [`Card`]: flushes and writes that are to last are passed on to it as they
//! come, so that what the board's kernel did not flush is what a cut may take.

use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use super::card::{Card, Lasting, SECTOR};
use crate::wait::{Deadline, Watched};

const NBD_MAGIC: u64 = 0x4e42_444d_4147_4943;
const OPTION_MAGIC: u64 = 0x4948_4156_454f_5054;
const OPTION_REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;
const REQUEST_MAGIC: u32 = 0x2560_9513;
const REPLY_MAGIC: u32 = 0x6744_6698;

/// Of the handshake: the new style, with answers to options that are not known.
const FIXED_NEWSTYLE: u16 = 1;
/// Of the handshake: no 124 bytes of nothing behind the old answer.
const NO_ZEROES: u16 = 2;

const OPTION_EXPORT_NAME: u32 = 1;
const OPTION_ABORT: u32 = 2;
const OPTION_INFO: u32 = 6;
const OPTION_GO: u32 = 7;

const ACKNOWLEDGED: u32 = 1;
const INFORMATION: u32 = 3;
const UNSUPPORTED: u32 = 0x8000_0001;

const INFO_EXPORT: u16 = 0;
const INFO_BLOCK_SIZE: u16 = 3;

/// It has flags; it flushes, writes what is to last, trims and writes zeros.
const EXPORT_FLAGS: u16 = 1 | 1 << 2 | 1 << 3 | 1 << 5 | 1 << 6;

const READ: u16 = 0;
const WRITE: u16 = 1;
const DISCONNECT: u16 = 2;
const FLUSH: u16 = 3;
const TRIM: u16 = 4;
const WRITE_ZEROES: u16 = 6;

/// Of a request: it lasts when it is answered.
const FORCE_UNIT_ACCESS: u16 = 1;

const IO_ERROR: u32 = 5;
const INVALID: u32 = 22;

/// The longest option and the longest request.
const LONGEST_OPTION: u32 = 64 * 1024;
const LONGEST: u32 = 32 * 1024 * 1024;

/// Ends the service between two writes: cards hold something that is not flushed for so short a
/// time that instants chosen by a clock hardly ever meet it.
#[derive(Debug, Default)]
pub struct Fuse(Watched<Charge>);

#[derive(Debug, Default)]
struct Charge {
    /// Writes until it blows, where it was armed.
    left: Option<u64>,
    blown: bool,
}

impl Fuse {
    /// From now on so many writes reach the card, at least one, and the last is not answered.
    pub fn arm(&self, writes: u64) {
        self.0.update(|charge| charge.left = Some(writes));
    }

    /// Waits until it has blown; false where it did not before the deadline.
    pub fn wait(&self, deadline: Deadline) -> bool {
        self.0.wait(deadline, "the fuse", |charge| charge.blown.then_some(())).is_ok()
    }

    /// Whether it has.
    pub fn is_blown(&self) -> bool {
        self.0.lock().blown
    }

    /// Counts a write.
    fn burn(&self) -> bool {
        self.0.update(|charge| {
            charge.left = charge.left.map(|left| left.saturating_sub(1));
            charge.blown = charge.left == Some(0);
            charge.blown
        })
    }
}

/// A card that an emulator has.
#[derive(Debug)]
pub struct Session {
    socket: PathBuf,
    fuse: Arc<Fuse>,
    server: Option<JoinHandle<io::Result<Card>>>,
}

impl Session {
    /// Serves a card to whoever connects first.
    pub fn begin(card: Card, socket: &Path) -> io::Result<Self> {
        let listener = UnixListener::bind(socket)?;
        let fuse = Arc::new(Fuse::default());
        let burning = Arc::clone(&fuse);
        let server = thread::Builder::new().name("card".into()).spawn(move || {
            let (client, _) = listener.accept()?;
            serve(card, client, &burning)
        })?;
        Ok(Self { socket: socket.into(), fuse, server: Some(server) })
    }

    /// Where it is served.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// What can end it between two writes.
    pub fn fuse(&self) -> Arc<Fuse> {
        Arc::clone(&self.fuse)
    }

    /// Gives the card back, once the emulator has ended, however it did.
    pub fn end(mut self) -> io::Result<Card> {
        let server = self.close().ok_or(io::ErrorKind::NotConnected)?;
        server.join().map_err(|_| io::Error::other("who served the card panicked"))?
    }

    /// Nobody else can connect; should nobody have done so, this does.
    fn close(&mut self) -> Option<JoinHandle<io::Result<Card>>> {
        let server = self.server.take()?;
        let _ = UnixStream::connect(&self.socket);
        let _ = std::fs::remove_file(&self.socket);
        Some(server)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // It ends with its client.
        drop(self.close());
    }
}

/// Until the client goes: at its end, or in the middle of whatever it said.
fn serve(mut card: Card, client: UnixStream, fuse: &Fuse) -> io::Result<Card> {
    let mut connection =
        Connection { input: BufReader::new(client.try_clone()?), output: BufWriter::new(client) };
    match connection.serve(&mut card, fuse) {
        Err(error) if !is_gone(&error) => Err(error),
        _ => Ok(card),
    }
}

fn is_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof)
}

struct Connection {
    input: BufReader<UnixStream>,
    output: BufWriter<UnixStream>,
}

struct Request {
    flags: u16,
    kind: u16,
    cookie: [u8; 8],
    offset: u64,
    length: u32,
}

impl Connection {
    fn serve(&mut self, card: &mut Card, fuse: &Fuse) -> io::Result<()> {
        if !self.agree(card.size())? {
            return Ok(());
        }
        loop {
            let request = self.request()?;
            if request.kind == DISCONNECT {
                return Ok(());
            }
            let answer = self.carry_out(card, &request)?;
            if matches!(request.kind, WRITE | TRIM | WRITE_ZEROES) && fuse.burn() {
                // Silence until the client ends as well.
                return io::copy(&mut self.input, &mut io::sink()).map(drop);
            }
            let (error, data) = match answer {
                Ok(data) => (0, data),
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => (INVALID, Vec::new()),
                Err(_) => (IO_ERROR, Vec::new()),
            };
            self.output.write_all(&REPLY_MAGIC.to_be_bytes())?;
            self.output.write_all(&error.to_be_bytes())?;
            self.output.write_all(&request.cookie)?;
            self.output.write_all(&data)?;
            self.output.flush()?;
        }
    }

    /// What both sides can. False where the client has asked enough.
    fn agree(&mut self, size: u64) -> io::Result<bool> {
        self.output.write_all(&NBD_MAGIC.to_be_bytes())?;
        self.output.write_all(&OPTION_MAGIC.to_be_bytes())?;
        self.output.write_all(&(FIXED_NEWSTYLE | NO_ZEROES).to_be_bytes())?;
        self.output.flush()?;
        let client = self.u32()?;
        loop {
            expect(self.u64()? == OPTION_MAGIC, "an option")?;
            let (option, length) = (self.u32()?, self.u32()?);
            expect(length <= LONGEST_OPTION, "a short option")?;
            self.data(length)?;
            match option {
                OPTION_EXPORT_NAME => {
                    self.output.write_all(&size.to_be_bytes())?;
                    self.output.write_all(&EXPORT_FLAGS.to_be_bytes())?;
                    if client & u32::from(NO_ZEROES) == 0 {
                        self.output.write_all(&[0; 124])?;
                    }
                    self.output.flush()?;
                    return Ok(true);
                }
                OPTION_GO | OPTION_INFO => {
                    self.tell(option, size)?;
                    if option == OPTION_GO {
                        return Ok(true);
                    }
                }
                OPTION_ABORT => {
                    self.answer_option(option, ACKNOWLEDGED, &[])?;
                    return Ok(false);
                }
                _ => self.answer_option(option, UNSUPPORTED, &[])?,
            }
        }
    }

    /// The card, whatever name it was asked for by.
    fn tell(&mut self, option: u32, size: u64) -> io::Result<()> {
        let mut export = INFO_EXPORT.to_be_bytes().to_vec();
        export.extend(size.to_be_bytes());
        export.extend(EXPORT_FLAGS.to_be_bytes());
        self.answer_option(option, INFORMATION, &export)?;
        let mut blocks = INFO_BLOCK_SIZE.to_be_bytes().to_vec();
        for size in [u32::try_from(SECTOR).unwrap_or(u32::MAX), 4096, LONGEST] {
            blocks.extend(size.to_be_bytes());
        }
        self.answer_option(option, INFORMATION, &blocks)?;
        self.answer_option(option, ACKNOWLEDGED, &[])
    }

    fn answer_option(&mut self, option: u32, kind: u32, data: &[u8]) -> io::Result<()> {
        let length = u32::try_from(data.len()).map_err(io::Error::other)?;
        self.output.write_all(&OPTION_REPLY_MAGIC.to_be_bytes())?;
        for number in [option, kind, length] {
            self.output.write_all(&number.to_be_bytes())?;
        }
        self.output.write_all(data)?;
        self.output.flush()
    }

    fn request(&mut self) -> io::Result<Request> {
        expect(self.u32()? == REQUEST_MAGIC, "a request")?;
        let (flags, kind) = (self.u16()?, self.u16()?);
        let cookie = self.array()?;
        let (offset, length) = (self.u64()?, self.u32()?);
        Ok(Request { flags, kind, cookie, offset, length })
    }

    /// The outer error is that of the connection, the inner one is the client's to know.
    fn carry_out(&mut self, card: &mut Card, asked: &Request) -> io::Result<io::Result<Vec<u8>>> {
        let lasts = asked.flags & FORCE_UNIT_ACCESS != 0;
        let lasting = if lasts { Lasting::Now } else { Lasting::Later };
        let length = usize::try_from(asked.length).map_err(io::Error::other)?;
        let empty = |()| Vec::new();
        // Zeros are not sent: they may be as many as the card has.
        if matches!(asked.kind, READ | WRITE) {
            expect(asked.length <= LONGEST, "a short request")?;
        }
        Ok(match asked.kind {
            READ => {
                let mut data = vec![0; length];
                card.read(asked.offset, &mut data).map(|()| data)
            }
            WRITE => {
                let data = self.data(asked.length)?;
                card.write(asked.offset, data, lasting).map(empty)
            }
            FLUSH => card.flush().map(empty),
            TRIM | WRITE_ZEROES => card.zero(asked.offset, length, lasting).map(empty),
            _ => Err(io::ErrorKind::InvalidInput.into()),
        })
    }

    fn data(&mut self, length: u32) -> io::Result<Vec<u8>> {
        let mut data = Vec::new();
        let read = Read::by_ref(&mut self.input).take(length.into()).read_to_end(&mut data)?;
        if read as u64 == u64::from(length) { Ok(data) } else { Err(eof()) }
    }

    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.input.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn u16(&mut self) -> io::Result<u16> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> io::Result<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> io::Result<u64> {
        self.array().map(u64::from_be_bytes)
    }
}

fn eof() -> io::Error {
    io::ErrorKind::UnexpectedEof.into()
}

fn expect(holds: bool, what: &str) -> io::Result<()> {
    let wrong =
        || io::Error::new(io::ErrorKind::InvalidData, format!("the client sent not {what}"));
    if holds { Ok(()) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests;

//! Everything that makes a release of the workspace, for every kind of board.
//!
//! | module | what it stands for |
//! |---|---|
//! | [`target`] | what programs are built for |
//! | [`route`] | how, on this machine: with rustup's standard library, or with one built from source |
//! | [`release`] | the programs, built |
//! | [`package`] | packages for Debian, archives for others |
//! | [`image`] | an image to flash |
//! | [`flash`] | an image, written to a card |
//! | [`check`] | whether they are what they claim to be |
//! | [`elf`] | what an ELF file says of itself |
//! | [`mended`] | what 32-bit ARM needs otherwise in a dependency |
//! | [`debian`] | a Debian to install packages in |
//! | [`board`] | virtual boards |
//! | [`workspace`] | where the sources and what is built of them are |
//!
//! `tests` builds what it tests by the same road, so that there is one.

pub mod board;
pub mod check;
pub mod debian;
pub mod elf;
pub mod flash;
pub mod image;
pub mod mended;
pub mod package;
pub mod release;
pub mod route;
pub mod target;
pub mod workspace;

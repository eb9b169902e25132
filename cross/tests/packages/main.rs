//! Packages, units and cards, as Debian's own programs and the kernel see them.

mod board;
mod card;
mod life;
mod tree;
mod units;

//! An image goes to a card: here to a file behind a loop device.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use mote_cross::debian::run;
use mote_cross::flash::{flash, look};
use tempfile::{TempDir, tempdir};

/// A file that looks like a disk.
struct Disk {
    device: PathBuf,
    file: PathBuf,
}

impl Disk {
    fn new(directory: &TempDir, bytes: u64) -> Result<Self> {
        let file = directory.path().join("disk");
        File::create(&file)?.set_len(bytes)?;
        let output = Command::new("losetup").args(["--find", "--show"]).arg(&file).output()?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "losetup: {error}");
        let device = String::from_utf8(output.stdout)?.trim().into();
        Ok(Self { device, file })
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("losetup").arg("--detach").arg(&self.device).status();
    }
}

fn image(directory: &TempDir, bytes: usize) -> Result<PathBuf> {
    let path = directory.path().join("image");
    // No two sectors near each other are the same.
    let contents: Result<Vec<u8>, _> = (0..bytes).map(|at| u8::try_from(at / 512 % 251)).collect();
    let mut contents = contents?;
    contents[510..512].copy_from_slice(&[0x55, 0xaa]);
    fs::write(&path, contents)?;
    Ok(path)
}

fn refusal(image: &Path, disk: &Disk, force: bool) -> Result<String> {
    let error = flash(image, &disk.device, force).err().context("it was written to")?;
    Ok(format!("{error:#}"))
}

#[test]
fn a_card_holds_the_image_afterwards() -> Result<()> {
    let directory = tempdir()?;
    let image = image(&directory, 6 << 20)?;
    let disk = Disk::new(&directory, 8 << 20)?;
    let error = refusal(&image, &disk, false)?;
    ensure!(error.contains("cannot be taken out; --force"), "{error}");
    ensure!(fs::read(&disk.file)?.iter().all(|byte| *byte == 0), "nothing was written");

    flash(&image, &disk.device, true)?;
    run(Command::new("blockdev").arg("--flushbufs").arg(&disk.device))?;
    let (wanted, found) = (fs::read(&image)?, fs::read(&disk.file)?);
    ensure!(found.starts_with(&wanted), "the card holds the image");
    Ok(())
}

#[test]
fn a_card_that_is_mounted_or_too_small_is_left_alone() -> Result<()> {
    let directory = tempdir()?;
    let disk = Disk::new(&directory, 8 << 20)?;
    run(Command::new("mke2fs").args(["-q", "-t", "ext4"]).arg(&disk.device))?;
    let place = directory.path().join("mounted");
    fs::create_dir(&place)?;
    run(Command::new("mount").arg(&disk.device).arg(&place))?;
    let looked = look(&disk.device);
    let small = image(&directory, 1 << 20)?;
    let error = refusal(&small, &disk, false);
    let forced = refusal(&small, &disk, true);
    run(Command::new("umount").arg(&place))?;
    ensure!(looked?.mounted == [place.display().to_string()], "where it is mounted");
    let error = error?;
    let mounted = format!("mounted on {}", place.display());
    ensure!(error.ends_with(&mounted), "there is no hint to do it all the same: {error}");
    let forced = forced?;
    ensure!(forced.ends_with(&format!("not written to: it is {mounted}")), "{forced}");

    let large = image(&directory, 9 << 20)?;
    let error = refusal(&large, &disk, true)?;
    ensure!(error.ends_with("the image has 9437184 bytes, it has 8388608"), "{error}");
    Ok(())
}

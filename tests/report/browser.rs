//! Headless Chromium, from Debian's package `chromium`: what a page looks like, and what it says against it.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use flate2::read::ZlibDecoder;
use tempfile::TempDir;

/// Milliseconds of the page's own time.
const PATIENCE: &str = "--virtual-time-budget=10000";

pub struct Browser {
    profile: TempDir,
}

impl Browser {
    pub fn new() -> Self {
        let profile = tempfile::tempdir().expect("a profile");
        Self { profile }
    }

    /// A picture of the file as a window of this size shows it; as PNG in `target/pages`, where it can be looked at.
    pub fn picture(
        &self,
        file: &Path,
        (name, wide, high): (&str, u32, u32),
        dark: bool,
    ) -> Picture {
        let picture = pictures().join(format!("{name}.png"));
        let size = format!("--window-size={wide},{high}");
        let shot = format!("--screenshot={}", picture.display());
        let scheme = scheme(dark);
        let said = self.run(&["--hide-scrollbars", &size, &shot, &scheme], file);
        let said = String::from_utf8_lossy(&said.stderr).into_owned();
        let png = fs::read(&picture).unwrap_or_else(|error| panic!("{error}\n{said}"));
        Picture { png, said }
    }

    /// The document after its scripts have run.
    pub fn document(&self, file: &Path) -> String {
        let ran = self.run(&["--dump-dom", PATIENCE], file);
        String::from_utf8(ran.stdout).expect("UTF-8")
    }

    fn run(&self, options: &[&str], file: &Path) -> Output {
        let ran = Command::new("timeout")
            .args([
                "60",
                "chromium",
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
            ])
            .args([
                "--no-first-run",
                "--disable-extensions",
                "--disable-background-networking",
                "--enable-logging=stderr",
            ])
            .arg(format!("--user-data-dir={}", self.profile.path().display()))
            .args(options)
            .arg(format!("file://{}", file.display()))
            .env("HOME", self.profile.path())
            .output()
            .expect("chromium, which .ci/packages installs");
        assert!(
            ran.status.success(),
            "{}",
            String::from_utf8_lossy(&ran.stderr)
        );
        ran
    }
}

fn scheme(dark: bool) -> String {
    format!("--blink-settings=preferredColorScheme={}", u8::from(!dark))
}

fn pictures() -> PathBuf {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/pages");
    fs::create_dir_all(&directory).expect("a directory for pictures");
    directory
}

pub struct Picture {
    png: Vec<u8>,
    /// What the browser logged, with the page's console.
    pub said: String,
}

impl Picture {
    /// Red, green and blue at the top left: of the first pixel of the first line no PNG filter changes anything.
    pub fn corner(&self) -> [u8; 3] {
        let (mut at, mut data) = (8, Vec::new());
        while at + 8 <= self.png.len() {
            let length = self.png[at..at + 4].try_into().map(u32::from_be_bytes);
            let length = usize::try_from(length.expect("four bytes")).expect("a length");
            if &self.png[at + 4..at + 8] == b"IDAT" {
                data.extend_from_slice(&self.png[at + 8..at + 8 + length]);
            }
            at += length + 12;
        }
        let mut start = [0; 4];
        ZlibDecoder::new(&data[..])
            .read_exact(&mut start)
            .expect("pixels");
        [start[1], start[2], start[3]]
    }

    /// Lines of the page's console: refused styles, errors.
    pub fn console(&self) -> Vec<&str> {
        self.said
            .lines()
            .filter(|line| line.contains("CONSOLE"))
            .collect()
    }
}

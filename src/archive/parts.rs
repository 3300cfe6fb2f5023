//! A dump of many files: all the archive's entries that belong to it, unpacked in the order in which they lie there.

use std::collections::HashMap;
use std::io::{Read, Seek};

use super::found::Found;
use super::problem::Problem;
use super::unpack::{Inside, What};
use super::{Member, gate};
use crate::escape::quoted;

impl<R: Read + Seek> Inside<R> {
    /// Makes the entries with these names the dump; returns their length together. The name of the dump stays what it is.
    pub fn take_parts(&mut self, names: &[String]) -> Result<u64, Problem> {
        let What::Zip {
            directory,
            chosen,
            descriptor,
            parts,
        } = &mut self.what
        else {
            return Err(Problem::damaged("a file that is no archive has no parts"));
        };
        let entries = directory.entries.iter();
        let known: HashMap<&str, usize> =
            entries.map(|entry| (&*entry.name, entry.index)).collect();
        let (mut taken, mut sum) = (Vec::with_capacity(names.len()), 0_u64);
        for name in names {
            let index = known.get(&**name).copied();
            let index = index.ok_or_else(|| {
                Problem::damaged(format!("{} is not in the archive", quoted(name)))
            })?;
            let entry = &directory.entries[index];
            gate::check_readable(entry, self.password.as_ref())?;
            gate::check_sizes(entry, self.limits)?;
            sum = sum.saturating_add(entry.bytes);
            taken.push(index);
        }
        if sum > self.limits.max_unpacked {
            return Err(gate::too_large("the dump", sum, self.limits));
        }
        taken.sort_unstable_by_key(|index| directory.entries[*index].header_at);
        if let Some(first) = taken.first() {
            (*chosen, *descriptor) = (*first, None);
        }
        *parts = taken.into();
        Ok(sum)
    }

    /// How many files the dump has that was taken by [`Inside::take_parts`]; 0 for one in a single file.
    pub fn part_count(&self) -> usize {
        match &self.what {
            What::Zip { parts, .. } => parts.len(),
            What::Whole => 0,
        }
    }

    /// Makes the dump's file of this number, in the archive's order, the one that `open` and `unpack` read.
    pub fn turn_to_part(&mut self, number: usize) -> Result<Member, Problem> {
        let index = match &self.what {
            What::Zip { parts, .. } => parts.get(number).copied(),
            What::Whole => None,
        };
        let index = index.ok_or_else(|| Problem::damaged("the dump has fewer files"))?;
        self.turn_to_entry(index)?;
        Ok(self.member.clone())
    }
}

impl Found {
    /// Where the dump's entries begin in the archive, in order.
    #[must_use]
    pub fn starts(&self) -> Vec<u64> {
        match &self.what {
            What::Zip {
                directory,
                chosen,
                parts,
                ..
            } => {
                let only = [*chosen];
                let parts = if parts.is_empty() { &only[..] } else { parts };
                let entries = parts.iter().map(|part| &directory.entries[*part]);
                entries.map(|entry| entry.header_at).collect()
            }
            What::Whole => vec![0],
        }
    }
}

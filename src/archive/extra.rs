//! Extra fields of an entry: a number, a length, and that many bytes, one behind the other.

use super::record::Record;

/// The first field with this number.
pub(super) fn field(fields: &[u8], number: u16) -> Option<&[u8]> {
    let mut at = 0;
    while let Some(head) = Record::at(fields, at, 4, b"") {
        let content = at + 4..at + 4 + usize::from(head.u16(2));
        if head.u16(0) == number {
            return fields.get(content);
        }
        at = content.end;
    }
    None
}

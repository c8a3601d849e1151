//! Protobuf read field by field where it stands, for messages whose records are many.
//!
//! <https://protobuf.dev/programming-guides/encoding/>. Groups are refused: they are of proto2, and nobody sends them here.

/// What reading answers; an error says what is wrong with the bytes.
pub type Read<T = ()> = Result<T, String>;

const WRONG_TYPE: &str = "the protobuf message has a field of another wire type than expected";
const CUT_SHORT: &str = "the protobuf message is cut short";

/// What is left of a message.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a>(pub &'a [u8]);

/// The value of a field.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// A varint.
    Number(u64),
    /// Eight bytes, little-endian.
    Fixed64(u64),
    /// A text, bytes, or a message.
    Bytes(&'a [u8]),
    /// Four bytes.
    Fixed32,
}

impl<'a> Value<'a> {
    /// # Errors
    /// If it is of another wire type.
    #[inline]
    pub fn bytes(self) -> Read<&'a [u8]> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err(WRONG_TYPE.into()),
        }
    }

    /// # Errors
    /// If it is of another wire type.
    #[inline]
    pub fn number(self) -> Read<u64> {
        match self {
            Self::Number(number) => Ok(number),
            _ => Err(WRONG_TYPE.into()),
        }
    }
}

impl<'a> Message<'a> {
    /// The next field and its number.
    ///
    /// # Errors
    /// If it is cut short, or no field.
    #[inline]
    #[allow(clippy::should_implement_trait)] // It can fail.
    pub fn next(&mut self) -> Read<Option<(u64, Value<'a>)>> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Value::Number(self.varint()?),
            1 => Value::Fixed64(self.take(8)?.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))),
            2 => {
                let len = self.varint()?;
                Value::Bytes(self.take(len)?)
            }
            5 => self.take(4).map(|_| Value::Fixed32)?,
            other => return Err(format!("the protobuf message has a field of wire type `{other}`")),
        };
        Ok(Some((key >> 3, value)))
    }

    #[inline]
    fn take(&mut self, len: u64) -> Read<&'a [u8]> {
        let parts = usize::try_from(len).ok().and_then(|len| self.0.split_at_checked(len));
        let (taken, rest) = parts.ok_or(CUT_SHORT)?;
        self.0 = rest;
        Ok(taken)
    }

    #[inline]
    fn varint(&mut self) -> Read<u64> {
        if let Some((&byte, rest)) = self.0.split_first().filter(|(byte, _)| **byte < 0x80) {
            self.0 = rest;
            return Ok(u64::from(byte));
        }
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first().ok_or(CUT_SHORT)?;
            self.0 = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err("the protobuf message has a number of more than 64 bits".into())
    }
}

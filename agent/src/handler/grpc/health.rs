//! The two messages of `grpc.health.v1`, each with one field.

/// The method that is called.
pub(super) const METHOD: &str = "/grpc.health.v1.Health/Check";

/// `HealthCheckResponse.ServingStatus`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Status(u64);

impl Status {
    pub(super) const SERVING: Self = Self(1);

    /// As it is shown.
    pub(super) fn name(self) -> String {
        let known = match self.0 {
            0 => "UNKNOWN",
            1 => "SERVING",
            2 => "NOT_SERVING",
            3 => "SERVICE_UNKNOWN",
            other => return other.to_string(),
        };
        known.to_owned()
    }
}

/// A `HealthCheckRequest` with gRPC's prefix: not compressed, so long.
pub(super) fn request(service: &str) -> Vec<u8> {
    let mut message = Vec::new();
    if !service.is_empty() {
        // Field 1, a string.
        message.push(0x0a);
        put_varint(&mut message, service.len());
        message.extend_from_slice(service.as_bytes());
    }
    let mut framed = vec![0];
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    framed.extend_from_slice(&length.to_be_bytes());
    framed.extend_from_slice(&message);
    framed
}

/// Reads a `HealthCheckResponse` with its prefix; none where it is something else.
pub(super) fn response(framed: &[u8]) -> Option<Status> {
    let (prefix, message) = framed.split_first_chunk::<5>()?;
    let [compressed, length @ ..] = *prefix;
    let whole = usize::try_from(u32::from_be_bytes(length)).ok()? == message.len();
    if compressed != 0 || !whole {
        return None;
    }
    let (mut status, mut rest) = (0, message);
    while !rest.is_empty() {
        let tag = varint(&mut rest)?;
        match tag & 7 {
            0 => {
                let value = varint(&mut rest)?;
                if tag == 0x08 {
                    status = value;
                }
            }
            // Fields of the future.
            1 => rest = rest.get(8..)?,
            2 => {
                let length = usize::try_from(varint(&mut rest)?).ok()?;
                rest = rest.get(length..)?;
            }
            5 => rest = rest.get(4..)?,
            _ => return None,
        }
    }
    Some(Status(status))
}

fn put_varint(out: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        out.push(0x80 | u8::try_from(number & 0x7f).unwrap_or(0));
        number >>= 7;
    }
    out.push(u8::try_from(number).unwrap_or(0));
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, behind) = rest.split_first()?;
        *rest = behind;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_its_service() {
        assert_eq!(request(""), [0; 5]);
        assert_eq!(request("a.B"), *b"\0\0\0\0\x05\x0a\x03a.B");
        let long = request(&"x".repeat(200));
        assert_eq!(long.get(..8).unwrap(), b"\0\0\0\0\xcb\x0a\xc8\x01");
    }

    #[test]
    fn a_response_has_a_status_and_perhaps_more() {
        for (framed, name) in [
            (&b"\0\0\0\0\0"[..], "UNKNOWN"),
            (b"\0\0\0\0\x02\x08\x01", "SERVING"),
            (b"\0\0\0\0\x02\x08\x02", "NOT_SERVING"),
            (b"\0\0\0\0\x02\x08\x07", "7"),
            (b"\0\0\0\0\x06\x12\x02hi\x08\x03", "SERVICE_UNKNOWN"),
        ] {
            assert_eq!(response(framed).map(Status::name).as_deref(), Some(name));
        }
        let broken: [&[u8]; 5] = [
            b"",
            b"\x01\0\0\0\x02\x08\x01",
            b"\0\0\0\0\x03\x08\x01",
            b"\0\0\0\0\x02\x08\xff",
            b"\0\0\0\0\x02\x12\x09",
        ];
        for framed in broken {
            assert_eq!(response(framed), None, "{framed:?}");
        }
    }
}

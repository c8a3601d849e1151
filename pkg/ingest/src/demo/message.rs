//! The messages of the made-up traffic: fixed text and variables.

use super::random::Random;

/// A part of a message.
pub(super) enum Piece {
    /// Text, escaped for JSON.
    Text(Vec<u8>),
    /// One of a few texts.
    Pick(&'static [&'static str]),
    /// A number below the limit.
    Below(u64),
    /// A number below the limit; small ones are more likely.
    Skewed(u64),
    /// Digits, with leading zeros.
    Digits(u64, usize),
    /// Hex digits.
    Hex(usize),
    /// A number with three decimals.
    Decimal,
    Address,
    Amount,
    Email,
    File,
    Node,
    Order,
    Path,
    Pod,
    User,
    Uuid,
    Version,
}

const CURRENCIES: &[&str] = &["EUR", "EUR", "EUR", "USD", "GBP", "CHF"];
const METHODS: &[&str] = &["GET", "GET", "GET", "GET", "POST", "PUT", "DELETE"];
const NAMES: &[&str] = &[
    "alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy", "mallory", "niaj", "olivia",
    "peggy", "rupert", "sybil", "trent", "victor", "walter", "admin", "deploy", "oracle", "test", "guest",
];
const PATHS: &[&str] = &[
    "/",
    "/cart",
    "/checkout",
    "/login",
    "/search",
    "/api/v1/orders",
    "/api/v1/products",
    "/api/v1/users/me",
    "/account/settings",
    "/static/css/main.css",
];
const STATUSES: &[&str] = &["200", "200", "200", "200", "201", "204", "301", "304"];
const TABLES: &[&str] =
    &["orders", "order_items", "customers", "products", "payments", "sessions", "stock", "invoices", "events"];
const THINGS: &[&str] = &[
    "checkout",
    "thumbnail",
    "invoice-mail",
    "reindex",
    "cart",
    "catalog",
    "shipping",
    "pricing",
    "default",
    "canary",
    "welcome-mail",
    "report",
    "export",
    "cleanup",
    "fraud-check",
    "metrics",
];
const WORDS: &[&str] = &[
    "shoes", "red", "winter", "jacket", "cheap", "laptop", "stand", "coffee", "mug", "garden", "chair", "lamp", "usb",
    "cable", "bike", "helmet", "running", "watch", "kids", "tent",
];
const ZONES: &[&str] = &["eu-central-1", "eu-west-1", "us-east-1", "ap-south-1"];

impl Piece {
    fn variable(letter: char) -> Self {
        match letter {
            '4' => Self::Digits(10_000, 4),
            '5' => Self::Digits(60, 2),
            'a' => Self::Amount,
            'b' => Self::Skewed(4_000_000),
            'c' => Self::Pick(CURRENCIES),
            'd' => Self::Below(1_000),
            'D' => Self::Below(100_000),
            'e' => Self::Email,
            'f' => Self::File,
            'h' => Self::Hex(8),
            'H' => Self::Hex(16),
            'i' => Self::Address,
            'j' => Self::Pick(THINGS),
            'k' => Self::Pod,
            'm' => Self::Pick(METHODS),
            'n' => Self::Below(10),
            'N' => Self::Node,
            'o' => Self::Order,
            'p' => Self::Below(65_536),
            'q' => Self::Pick(TABLES),
            'r' => Self::Below(100),
            's' => Self::Pick(STATUSES),
            't' => Self::Decimal,
            'u' => Self::User,
            'U' => Self::Uuid,
            'v' => Self::Version,
            'w' => Self::Path,
            'x' => Self::Pick(WORDS),
            'z' => Self::Pick(ZONES),
            _ => Self::Text(vec![b'%']),
        }
    }

    #[inline]
    pub fn write(&self, random: &mut Random, out: &mut Vec<u8>) {
        match *self {
            Self::Text(ref text) => out.extend_from_slice(text),
            Self::Pick(texts) => pick(texts, random, out),
            Self::Below(end) => number(random.below(end), out),
            Self::Skewed(end) => number(random.skewed(end), out),
            Self::Digits(end, count) => digits(random.below(end), count, out),
            Self::Hex(count) => hex(random.next(), count, out),
            Self::Decimal => {
                number(random.skewed(1_000), out);
                out.push(b'.');
                digits(random.below(1_000), 3, out);
            }
            Self::Address => {
                // Few senders send most: the first two parts come from a small pool.
                let pool = random.skewed(400);
                for part in [1 + pool % 223, pool * 7 % 256, random.below(256)] {
                    number(part, out);
                    out.push(b'.');
                }
                number(random.below(256), out);
            }
            Self::Amount => {
                number(random.skewed(500), out);
                out.push(b'.');
                digits(random.below(100), 2, out);
            }
            Self::Email => {
                user(random, out);
                out.extend_from_slice(b"@example.org");
            }
            Self::File => {
                out.extend_from_slice(b"/var/lib/shop/");
                pick(THINGS, random, out);
                out.push(b'/');
                hex(random.next(), 8, out);
                out.extend_from_slice(b".dat");
            }
            Self::Node => {
                out.extend_from_slice(b"node-");
                digits(random.below(super::HOSTS), 2, out);
                out.extend_from_slice(b".example.net");
            }
            Self::Order => {
                out.extend_from_slice(b"ORD-");
                digits(random.below(1_000_000), 6, out);
            }
            Self::Path => {
                pick(PATHS, random, out);
                if random.below(2) == 0 {
                    out.push(b'/');
                    number(random.below(50_000), out);
                }
            }
            Self::Pod => {
                pick(THINGS, random, out);
                // A deployment of this hour, and one of its pods.
                out.extend_from_slice(b"-6d4f9c");
                digits(random.below(40), 2, out);
                out.push(b'-');
                hex(random.next(), 5, out);
            }
            Self::User => user(random, out),
            Self::Uuid => {
                let (high, low) = (random.next(), random.next());
                hex(high, 8, out);
                for part in [high >> 32, high >> 48, low] {
                    out.push(b'-');
                    hex(part, 4, out);
                }
                out.push(b'-');
                hex(low >> 16, 12, out);
            }
            Self::Version => {
                number(1 + random.below(3), out);
                out.push(b'.');
                number(random.below(20), out);
                out.push(b'.');
                number(random.below(10), out);
            }
        }
    }
}

/// The pieces of templates, by level.
pub(super) fn compile(templates: &[&str]) -> [Vec<Vec<Piece>>; 4] {
    let mut levels = [const { Vec::new() }; 4];
    for template in templates {
        let mut chars = template.chars();
        let level = match chars.next() {
            Some('d') => 0,
            Some('i') => 1,
            Some('w') => 2,
            _ => 3,
        };
        levels[level].push(pieces(chars.as_str()));
    }
    levels
}

fn pieces(template: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut text = Vec::new();
    let mut chars = template.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            // A percent sign at the end or in front of a space is one.
            '%' if chars.peek().is_some_and(|&c| c.is_ascii_alphanumeric() || c == '%') => {
                if !text.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut text)));
                }
                pieces.push(Piece::variable(chars.next().unwrap_or('%')));
            }
            '"' | '\\' => text.extend([b'\\', c as u8]),
            _ => text.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    if !text.is_empty() {
        pieces.push(Piece::Text(text));
    }
    pieces
}

fn pick(texts: &[&str], random: &mut Random, out: &mut Vec<u8>) {
    out.extend_from_slice(texts[random.below(texts.len() as u64) as usize].as_bytes());
}

fn user(random: &mut Random, out: &mut Vec<u8>) {
    pick(NAMES, random, out);
    let number = random.below(20);
    if number > 5 {
        self::number(number, out);
    }
}

pub(super) fn number(number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Appends the lowest digits, with leading zeros. At most 16.
pub(super) fn digits(mut number: u64, count: usize, out: &mut Vec<u8>) {
    let mut text = [b'0'; 16];
    let count = count.min(text.len());
    for digit in text[..count].iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
    out.extend_from_slice(&text[..count]);
}

/// Appends the lowest hex digits. At most 16.
pub(super) fn hex(mut number: u64, count: usize, out: &mut Vec<u8>) {
    let mut text = [b'0'; 16];
    let count = count.min(text.len());
    for digit in text[..count].iter_mut().rev() {
        *digit = b"0123456789abcdef"[(number & 15) as usize];
        number >>= 4;
    }
    out.extend_from_slice(&text[..count]);
}

//! Records that name their writer: the content of each follows from its own first bytes.

use crate::rng::Rng;

/// The origin of a record. The writer prints it, and every record begins with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Ident {
    /// The writer process.
    pub(crate) life: u32,
    /// The burst of appends in it.
    pub(crate) burst: u32,
    /// The thread of the burst.
    pub(crate) thread: u32,
    /// How many records that thread had made before.
    pub(crate) index: u32,
    /// Its place in its atomic batch.
    pub(crate) place: u32,
    /// How many records that batch has; 1 for a record of its own.
    pub(crate) batch: u32,
    /// Its length.
    pub(crate) bytes: u32,
}

impl Ident {
    /// The least length of a record.
    pub(crate) const BYTES: u32 = 28;

    fn fields(&self) -> [u32; 7] {
        [self.life, self.burst, self.thread, self.index, self.place, self.batch, self.bytes]
    }

    fn from_fields(fields: [u32; 7]) -> Ident {
        let [life, burst, thread, index, place, batch, bytes] = fields;
        Ident { life, burst, thread, index, place, batch, bytes }
    }

    /// The record's content.
    pub(crate) fn content(&self) -> Vec<u8> {
        let fields = self.fields();
        let mut content: Vec<u8> = fields.iter().flat_map(|field| field.to_le_bytes()).collect();
        let seed = fields.iter().fold(0, |seed: u64, &f| seed.rotate_left(9) ^ u64::from(f));
        let mut rng = Rng::new(seed);
        while content.len() < self.bytes as usize {
            content.extend_from_slice(&rng.next().to_le_bytes());
        }
        content.truncate(self.bytes as usize);
        content
    }

    /// The origin of a record, if all of its bytes are as written.
    pub(crate) fn of(content: &[u8]) -> Option<Ident> {
        let mut fields = [0; 7];
        for (field, bytes) in fields.iter_mut().zip(content.as_chunks::<4>().0) {
            *field = u32::from_le_bytes(*bytes);
        }
        let ident = Ident::from_fields(fields);
        let whole = content.len() >= Ident::BYTES as usize && ident.content() == content;
        whole.then_some(ident)
    }

    pub(crate) fn print(&self) -> String {
        self.fields().map(|field| field.to_string()).join(".")
    }

    pub(crate) fn parse(text: &str) -> Option<Ident> {
        let fields: Vec<u32> = text.split('.').map_while(|field| field.parse().ok()).collect();
        Some(Ident::from_fields(fields.try_into().ok()?))
    }
}

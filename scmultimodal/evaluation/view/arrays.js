// Arrays of the page: base64 of zlib, one script element each, unpacked when asked for.

const KINDS = {
  uint8: Uint8Array, uint16: Uint16Array, int32: Int32Array, float32: Float32Array,
};
const unpacked = new Map();

function readArray(reference) {
  if (!unpacked.has(reference.array)) {
    unpacked.set(reference.array, unpack(reference));
  }
  return unpacked.get(reference.array);
}

async function unpack({ array, dtype, length }) {
  const holder = document.getElementById(`array-${array}`);
  const packed = fromBase64(holder.textContent);
  holder.remove();
  const stream = new Blob([packed]).stream();
  const plain = stream.pipeThrough(new DecompressionStream("deflate"));
  const buffer = await new Response(plain).arrayBuffer();
  if (dtype === "words") return JSON.parse(new TextDecoder().decode(buffer));
  const values = new KINDS[dtype](buffer);
  if (values.length !== length) throw new Error(`array ${array} is damaged`);
  return values;
}

function fromBase64(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const letters = atob(text);
  const bytes = new Uint8Array(letters.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = letters.charCodeAt(i);
  return bytes;
}

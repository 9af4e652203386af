// The random streams of the program: ChaCha with 8 rounds (Bernstein 2008), addressed by seed, purpose and index, and standard
// normal numbers by the ziggurat method (Marsaglia, Tsang 2000) in the variant of Doornik (2005).

const SAMPLE = 8; // the purpose "source noise of a sample"

/** A stream of 64-bit draws: `seed` and `index` are integers from 0 to 2^53 - 1. */
export class Stream {
  constructor(seed, index, purpose = SAMPLE) {
    const halves = (n) => [n % 2 ** 32, Math.floor(n / 2 ** 32)];
    this.state = new Uint32Array([
      0x61707865, 0x3320646e, 0x79622d32, 0x6b206574, // "expand 32-byte k"
      ...halves(seed), ...halves(purpose), 0, 0, 0, 0, // the key
      0, 0, ...halves(index), // counter and stream
    ]);
    this.block = new Uint32Array(16);
    this.used = 16;
  }

  refill() {
    const x = this.block;
    x.set(this.state);
    const turn = (v, n) => (v << n) | (v >>> (32 - n));
    const quarter = (a, b, c, d) => {
      x[a] += x[b]; x[d] = turn(x[d] ^ x[a], 16);
      x[c] += x[d]; x[b] = turn(x[b] ^ x[c], 12);
      x[a] += x[b]; x[d] = turn(x[d] ^ x[a], 8);
      x[c] += x[d]; x[b] = turn(x[b] ^ x[c], 7);
    };
    for (let round = 0; round < 8; round += 2) {
      for (let i = 0; i < 4; i++) quarter(i, 4 + i, 8 + i, 12 + i);
      for (let i = 0; i < 4; i++) quarter(i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4);
    }
    for (let i = 0; i < 16; i++) x[i] += this.state[i];
    this.state[12] += 1;
    if (this.state[12] === 0) this.state[13] += 1;
    this.used = 0;
  }

  /** Lower and upper 32 bits of a draw. */
  bits() {
    if (this.used === 16) this.refill();
    const at = this.used;
    this.used += 2;
    return [this.block[at], this.block[at + 1]];
  }

  /** A number in [0, 1) with 53 random bits. */
  uniform() {
    const [low, high] = this.bits();
    return (high * 2 ** 21 + (low >>> 11)) * 2 ** -53;
  }

  /** A number in (0, 1) with 52 random bits. */
  open() {
    const [low, high] = this.bits();
    return (high * 2 ** 20 + (low >>> 12)) * 2 ** -52 + 2 ** -53;
  }

  /** A standard normal number. */
  normal() {
    for (;;) {
      const [low, high] = this.bits();
      const layer = low & 0xff;
      const u = (high * 2 ** 20 + (low >>> 12)) * 2 ** -51 - 1;
      const x = u * EDGE[layer];
      if (Math.abs(x) < EDGE[layer + 1]) return x;
      if (layer === 0) return this.tail(u < 0);
      const height = HEIGHT[layer + 1] + (HEIGHT[layer] - HEIGHT[layer + 1]) * this.uniform();
      if (height < density(x)) return x;
    }
  }

  /** A normal number beyond the last layer. */
  tail(negative) {
    let [x, y] = [1, 0];
    while (-2 * y < x * x) {
      x = Math.log(this.open()) / TAIL;
      y = Math.log(this.open());
    }
    return negative ? x - TAIL : TAIL - x;
  }
}

// 256 layers of equal area under exp(-x^2 / 2): EDGE[1] is where the tail begins, and the first entry is the width that a
// rectangle of the area of the lowest layer, tail included, would have.
const TAIL = 3.654152885361008796;
const density = (x) => Math.exp(-x * x / 2);
const EDGE = [3.910757959537090045, TAIL];
const AREA = EDGE[0] * density(TAIL);
while (EDGE.length < 256) {
  const last = EDGE[EDGE.length - 1];
  EDGE.push(Math.sqrt(-2 * Math.log(AREA / last + density(last))));
}
EDGE.push(0);
const HEIGHT = EDGE.map(density);

/** The noise of items `first` to `first + count` of a sample: float32, item by item; `has` is the number of classes of each site. */
export function noise(count, has, classes, seed, first = 0) {
  const values = new Float32Array(count * has.length * classes);
  let at = 0;
  for (let item = 0; item < count; item++) {
    const stream = new Stream(seed, first + item);
    for (const own of has) {
      for (let c = 0; c < own; c++) values[at + c] = stream.normal();
      at += classes;
    }
  }
  return values;
}

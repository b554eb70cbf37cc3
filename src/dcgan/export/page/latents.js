// Latents: of the seeds that Python drew, of the browser's own draws, and between two.

/** Where latents come from: the table of the first seeds, and new draws. */
export class Latents {
  /**
   * `table` holds a row a seed: `size` numbers of the distribution `kind`, normal or uniform, and then a conditional
   * model's `labels`, of that number. Latents are such rows.
   */
  constructor(table, size, kind, labels = 0) {
    Object.assign(this, { table, size, kind, row: size + labels, seeds: table.length / (size + labels) });
  }

  /** The latent of a name: a seed of the table such as "7", or a draw of the browser's own such as "r123". */
  named(name) {
    if (name.startsWith("r")) return this.draw(Number(name.slice(1)));
    return this.table.slice(name * this.row, (Number(name) + 1) * this.row);
  }

  /** Whether a name, perhaps from a link, is one that `named` knows. */
  knows(name) {
    if (/^r\d{1,10}$/.test(name)) return Number(name.slice(1)) < 2 ** 32;
    return /^\d{1,6}$/.test(name) && Number(name) < this.seeds;
  }

  /**
   * A draw that depends on `seed`, of 32 bits, alone. Not what Python draws for that seed: torch's draws differ. Labels
   * are those of some seed of the table.
   */
  draw(seed) {
    const random = mulberry32(seed);
    const row = Math.floor(random() * this.seeds) * this.row;
    return Float32Array.from({ length: this.row }, (_, i) => {
      if (i >= this.size) return this.table[row + i];
      if (this.kind === "uniform") return 2 * random() - 1;
      // Box and Muller's normal draw; 1 - random() is never 0.
      return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
    });
  }

  /** The latent at `t` of [0, 1] between two, as `dcgan interpolate` goes from one to the next: labels straight. */
  between(from, to, t) {
    const lerp = (x, y) => x + (y - x) * t;
    const path = from.map((value, i) => lerp(value, to[i]));
    if (this.kind === "uniform") return path;
    const [a, b] = [from, to].map((latent) => latent.slice(0, this.size));
    const [lengthA, lengthB] = [norm(a), norm(b)];
    const cosine = dot(a, b) / (lengthA * lengthB);
    const across = b.map((value, i) => value / lengthB - (cosine * a[i]) / lengthA);
    const sine = norm(across);
    if (sine < 1e-5) return path; // nearly parallel: there is no circle to walk
    // On the great circle, the length going evenly from one's to the other's (dcgan.explore.latents.slerp).
    const angle = Math.atan2(sine, cosine) * t;
    const length = lerp(lengthA, lengthB);
    path.set(a.map((value, i) => length * ((Math.cos(angle) * value) / lengthA + (Math.sin(angle) * across[i]) / sine)));
    return path;
  }
}

const dot = (a, b) => a.reduce((sum, value, i) => sum + value * b[i], 0);
const norm = (a) => Math.sqrt(dot(a, a));

/** Random numbers of [0, 1): Tommy Ettinger's mulberry32, a 32-bit generator. */
function mulberry32(state) {
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

// Render drawn animals, for the sample sheet of the bundled faces-clean.
//
//   mkdir drawing && cp scripts/render_drawn_animals.mjs drawing/ && cd drawing
//   npm install animal-avatar-generator@1.2.0 @resvg/resvg-js@2.6.2 esbuild@0.25.0
//   npx esbuild render_drawn_animals.mjs --bundle --platform=node --external:@resvg/resvg-js --outfile=render.cjs
//   node render.cjs FOLDER
//
// That package needs a bundler: its modules import each other without the names' endings.
// The drawings are by Roman Lukashik's animal-avatar-generator (MIT).
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import avatar from 'animal-avatar-generator';
import { Resvg } from '@resvg/resvg-js';

for (const seed of ['facemeld a', 'facemeld b', 'facemeld c']) {
  const whole = avatar(seed, { size: 256, round: false, blackout: false });
  const svg = whole.replace('viewBox="0 0 500 500"', 'viewBox="50 40 400 400"'); // nearer
  const name = `drawn_animal_${seed.at(-1)}.png`;
  writeFileSync(join(process.argv[2], name), new Resvg(svg).render().asPng());
}

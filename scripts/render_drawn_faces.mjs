// Render the drawn characters among the demo faces: three drawn here, three in the Lorelei style.
//
//   mkdir drawing && cp scripts/render_drawn_faces.mjs drawing/ && cd drawing
//   npm install @dicebear/core@9.4.3 @dicebear/lorelei@9.4.3 @resvg/resvg-js@2.6.2
//   node render_drawn_faces.mjs ../src/facemeld/assets/faces
//
// Authors and licences: src/facemeld/assets/faces/LICENSES.md.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createAvatar } from '@dicebear/core';
import * as lorelei from '@dicebear/lorelei';
import { Resvg } from '@resvg/resvg-js';

const SIZE = 256;

// Paths are in a 256 x 256 picture, the face centred on x = 128. The front hair goes along the
// crown from left to right, then back along the fringe.
const CROWN = 'M56 136 C44 66 84 30 128 30 C172 30 212 66 200 136';
const FRINGES = {
  parted:
    'C192 108 184 96 174 88 C160 104 144 92 134 68 C122 98 98 106 80 92 C70 102 62 116 56 136',
  straight:
    'C194 122 190 114 186 106 L176 118 L166 104 L152 120 L140 104 L126 120 L112 104 L98 119 '
    + 'L88 104 L76 118 L70 106 C66 114 60 124 56 136',
  swept:
    'C190 104 176 84 158 74 C150 96 124 112 92 114 C98 106 102 100 104 92 C88 102 64 112 56 136',
};
const BACKS = {
  long:
    'M24 262 C36 190 22 118 44 74 C62 30 98 14 128 14 C160 14 194 30 '
    + '212 74 C234 118 220 190 232 262 Z',
  bob:
    'M42 206 C28 150 30 102 48 70 C66 32 98 16 128 16 C158 16 190 32 208 70 '
    + 'C226 102 228 150 214 206 C200 218 176 214 166 204 L90 204 C80 214 56 218 42 206 Z',
  spiky:
    'M40 168 L26 146 L40 132 L22 104 L44 96 L34 62 L62 64 L66 32 L94 42 L110 12 L132 34 L160 12 '
    + 'L168 42 L198 34 L196 64 L224 66 L212 96 L234 108 L216 132 L230 150 L214 170 Z',
};
const MOUTHS = {
  smile: '<path d="M116 189 Q128 198 140 189" fill="none"/>',
  open: '<path d="M116 187 Q128 183 140 187 Q138 203 128 203 Q118 203 116 187 Z" fill="#b5484f"/>',
  calm: '<path d="M119 192 Q128 189 137 192" fill="none"/>',
};
const DRAWN = {
  anime_ai: { back: 'long', fringe: 'straight', mouth: 'smile', hair: '#4f5fb0', eyes: '#2f8f83',
    skin: '#fde3d3', cloth: '#f2f3f8', sky: '#cfe6f5' },
  anime_beni: { back: 'bob', fringe: 'parted', mouth: 'open', hair: '#c4553f', eyes: '#7a4bb0',
    skin: '#fbdcc6', cloth: '#3c5a78', sky: '#f6e7c8' },
  anime_ren: { back: 'spiky', fringe: 'swept', mouth: 'calm', hair: '#3d3a45', eyes: '#b3742b',
    skin: '#f3cfb3', cloth: '#8a2f3c', sky: '#d8ead2' },
};
const LORELEI = {
  anime_lorelei_a: {
    seed: 'f8',
    hairColor: ['b83b3b'],
    skinColor: ['f6d9c0'],
    backgroundColor: ['b6e3f4'],
  },
  anime_lorelei_b: {
    seed: 'f9',
    hairColor: ['28556e'],
    skinColor: ['e0aa80'],
    glassesProbability: 100,
    backgroundColor: ['f3e3c3'],
  },
  anime_lorelei_c: {
    seed: 'f2',
    hairColor: ['4b3a70'],
    skinColor: ['f6d9c0'],
    backgroundColor: ['d1f4d9'],
  },
};
const LORELEI_COMMON = {
  beardProbability: 0,
  glassesProbability: 0,
  mouth: ['happy01', 'happy02', 'happy03', 'happy04', 'happy05', 'happy06', 'happy08'],
};
const LORELEI_CROP = '150 130 700 700';

// A lighter (amount > 0) or darker colour, amount in -1..1.
function shade(colour, amount) {
  const target = amount > 0 ? 255 : 0;
  const channels = colour.match(/[0-9a-f]{2}/g).map((hex) => parseInt(hex, 16));
  const mixed = channels.map((value) => Math.round(value + (target - value) * Math.abs(amount)));
  return `#${mixed.map((value) => value.toString(16).padStart(2, '0')).join('')}`;
}

function eye(x, colour, line) {
  return `<g transform="translate(${x} 143)">
    <path d="M-20 2 Q-16 -22 2 -22 Q20 -20 20 4 Q14 23 0 23 Q-14 22 -20 2 Z" fill="#fff"/>
    <ellipse rx="13.5" ry="20" fill="url(#iris)" stroke="${shade(colour, -0.6)}"
      stroke-width="1.5"/>
    <ellipse cy="1" rx="6" ry="10" fill="${shade(colour, -0.75)}"/>
    <ellipse cx="-5" cy="-10" rx="5" ry="6" fill="#fff"/><circle cx="5" cy="10" r="3" fill="#fff"/>
    <path d="M-23 0 Q-18 -24 2 -24 Q21 -22 23 2" fill="none" stroke="${line}" stroke-width="5"/>
    <path d="M-12 22 Q0 26 12 21" fill="none" stroke="${line}" stroke-width="1.5"/>
    <path d="M-19 -35 Q0 -43 19 -36" fill="none" stroke="${line}" stroke-width="3"/></g>`;
}

function draw({ back, fringe, mouth, hair, eyes, skin, cloth, sky }) {
  const line = shade(hair, -0.55);
  const shadow = shade(skin, -0.16);
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 256 256"
    stroke-linecap="round" stroke-linejoin="round">
  <defs>
    <linearGradient id="iris" x2="0" y2="1"><stop stop-color="${shade(eyes, -0.5)}"/>
      <stop offset="1" stop-color="${shade(eyes, 0.45)}"/></linearGradient>
    <linearGradient id="sky" x2="0" y2="1"><stop stop-color="${sky}"/>
      <stop offset="1" stop-color="${shade(sky, 0.6)}"/></linearGradient>
    <clipPath id="fringe"><path d="${CROWN} ${FRINGES[fringe]}"/></clipPath>
    <linearGradient id="hair" x2="0" y2="1"><stop offset="0.45" stop-color="${hair}"/>
      <stop offset="0.75" stop-color="${shade(hair, -0.28)}"/></linearGradient>
  </defs>
  <rect width="256" height="256" fill="url(#sky)"/>
  <g stroke="${line}" stroke-width="2.5">
    <path d="${BACKS[back]}" fill="url(#hair)"/>
    <path d="M106 196 L104 236 L152 236 L150 196 Z" fill="${shadow}"/>
    <path d="M36 262 Q44 236 104 226 Q128 250 152 226 Q212 236 220 262 Z" fill="${cloth}"/>
    <path d="M64 128 C50 120 50 156 68 160 Z M192 128 C206 120 206 156 188 160 Z" fill="${skin}"/>
    <path d="M62 116 C60 164 86 196 128 217 C170 196 196 164 194 116 C192 58 64 58 62 116 Z"
      fill="${skin}"/>
  </g>
  <path d="M64 112 C70 62 186 62 192 112 L190 126 C170 104 90 104 66 128 Z" fill="${shadow}"
    opacity="0.7"/>
  <ellipse cx="84" cy="175" rx="14" ry="6" fill="#ee8a86" opacity="0.45"/>
  <ellipse cx="172" cy="175" rx="14" ry="6" fill="#ee8a86" opacity="0.45"/>
  ${eye(94, eyes, line)}<g transform="translate(256 0) scale(-1 1)">${eye(94, eyes, line)}</g>
  <g stroke="${shade(skin, -0.6)}" stroke-width="2.2">
    <path d="M128 166 L126 172 L129 173" fill="none"/>${MOUTHS[mouth]}</g>
  <path d="${CROWN} ${FRINGES[fringe]}" fill="${hair}"/>
  <path d="M200 136 ${FRINGES[fringe]}" fill="none" stroke="${line}" stroke-width="2.5"/>
  <path d="M50 84 Q128 44 206 84 L206 96 Q128 58 50 96 Z" fill="${shade(hair, 0.35)}" opacity="0.7"
    clip-path="url(#fringe)"/>
  </svg>`;
}

function drawLorelei(options) {
  const avatar = createAvatar(lorelei, { ...LORELEI_COMMON, ...options });
  return avatar.toString().replace(/viewBox="[^"]*"/, `viewBox="${LORELEI_CROP}"`);
}

function render(name, svg) {
  const picture = new Resvg(svg, { fitTo: { mode: 'width', value: SIZE } }).render().asPng();
  writeFileSync(join(process.argv[2], `${name}.png`), picture);
}

for (const [name, look] of Object.entries(DRAWN)) render(name, draw(look));
for (const [name, options] of Object.entries(LORELEI)) render(name, drawLorelei(options));

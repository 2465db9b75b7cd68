// Draw or show a photo, post it, show what the models say; while one request is under way, only the
// latest drawing waits.

const PEN = 40; // of the paper's 560: as thick as MNIST's strokes
const SENT = 280; // pixels of a side of what is sent of a drawing
const STEP = 20; // of an arrow key
const PAUSE = 700; // milliseconds of rest before the guesses are read aloud
const MAXIMUM_BYTES = 8 * 2 ** 20; // what the server takes
const TYPES = ["image/png", "image/jpeg", "image/bmp"]; // as well
const SUBJECTS = {
  drawings: { title: "Drawing", invitation: "Draw a digit", role: "application",
    label: "Paper to draw a digit on" },
  photos: { title: "Photo", invitation: "Drop a photo here, or choose one with “Image…”",
    role: "img", label: "The photo that the nets look at" },
};

const byId = (id) => document.getElementById(id);
const paper = byId("paper");
const message = byId("message"); // what went wrong
const spoken = byId("spoken"); // for screen readers
const list = byId("guesses");
const tabs = [byId("drawings"), byId("photos")];
const ink = paper.getContext("2d");
let subject = null; // of SUBJECTS
let cards = []; // of the subject's models
let isBlank = true;
const strokes = new Map(); // by pointer: where it was
let pen = { x: paper.width / 2, y: paper.height / 2, down: false }; // of the keyboard
let waiting = null;
let isAsking = false;
let reading = 0;

function element(tag, name, parent) {
  const made = document.createElement(tag);
  made.className = name;
  parent.append(made);
  return made;
}

function addGroup(title, members) {
  const group = element("section", "group", list);
  const heading = element("h3", "", group);
  heading.textContent = `Nets for ${title}`;
  const verdict = element("span", "verdict", group);
  const items = element("ul", "", group);
  for (const model of members) cards.push(addCard(model, items, verdict));
}

function addCard(model, items, verdict) {
  const item = element("li", "", items);
  addName(model, element("div", "name", item));
  const card = { model, item, verdict, label: element("div", "class", item) };
  card.chart = element("div", "bars", item);
  card.chart.setAttribute("aria-hidden", "true"); // the text says it
  addBars(card, model.classes);
  card.sure = element("div", "sure", item);
  addFacts(model, element("dl", "", item));
  return card;
}

function addName({ net, file }, name) {
  name.textContent = net || file;
  if (net) element("span", "", name).textContent = ` ${file}`;
}

function addBars(card, names) {
  card.chart.replaceChildren();
  card.item.classList.toggle("named", names.some((name) => name.length > 3));
  card.bars = names.map((name) => {
    const column = element("div", "bar", card.chart);
    element("div", "", column);
    element("span", "", column).textContent = name;
    return column;
  });
}

function addFacts({ parameters, bytes, accuracy }, facts) {
  const number = (value) => value?.toLocaleString("en");
  const right = accuracy === null ? undefined : `${(100 * accuracy).toFixed(2)} %`;
  const all = { parameters: number(parameters), bytes: number(bytes), accuracy: right };
  for (const [name, value] of Object.entries(all)) {
    if (value === undefined) continue; // no card says it
    const fact = element("div", "", facts);
    element("dt", "", fact).textContent = name;
    element("dd", "", fact).textContent = value;
  }
}

function percent(probability) {
  return `${(100 * probability).toFixed(1)} %`;
}

function show(guess, card) {
  if (card.bars.length !== guess.classes.length) addBars(card, guess.classes);
  guess.probabilities.forEach((probability, index) => {
    card.bars[index].style.setProperty("--share", probability);
    card.bars[index].classList.toggle("best", guess.classes[index] === guess.class);
  });
  card.label.textContent = guess.class;
  const time = guess.microseconds.toLocaleString("en", {
    minimumFractionDigits: 1,
    maximumFractionDigits: 1,
  });
  card.sure.textContent = `${percent(guess.probability)} sure, after ${time} µs`;
}

// "9 of 11 say 7" beside the title of each group.
function judge(guesses) {
  for (const verdict of new Set(cards.map((card) => card.verdict))) {
    const said = guesses.filter((_, index) => cards[index].verdict === verdict);
    const votes = new Map();
    for (const guess of said) votes.set(guess.class, (votes.get(guess.class) ?? 0) + 1);
    const [[name, most]] = [...votes].sort((a, b) => b[1] - a[1]);
    verdict.textContent = said.length > 1 ? `${most} of ${said.length} say ${name}` : "";
  }
}

// The very pixels that the nets took, one canvas for each size.
function showSeen(seen) {
  byId("seen").replaceChildren();
  for (const { shape: [height, width, channels], pixels } of seen) {
    const figure = element("figure", "", byId("seen"));
    const canvas = element("canvas", "", figure);
    Object.assign(canvas, { width, height });
    const bytes = Uint8Array.from(atob(pixels), (character) => character.charCodeAt(0));
    const picture = new ImageData(width, height);
    for (let index = 0; index < width * height; index += 1) {
      const at = (channel) => bytes[index * channels + Math.min(channel, channels - 1)];
      picture.data.set([at(0), at(1), at(2), 255], 4 * index);
    }
    canvas.getContext("2d").putImageData(picture, 0, 0);
    canvas.setAttribute("role", "img");
    const caption = `What the nets see: ${width} × ${height}`;
    canvas.setAttribute("aria-label", caption);
    element("figcaption", "", figure).textContent = caption;
  }
}

function showNothing() {
  showSeen([]);
  for (const card of cards) {
    card.label.textContent = "–";
    card.sure.textContent = card.model.runtime;
    card.verdict.textContent = "";
    for (const column of card.bars) {
      column.style.setProperty("--share", 0);
      column.classList.remove("best");
    }
  }
}

function speak(text) {
  clearTimeout(reading);
  spoken.textContent = text;
}

function speakOfGuesses(guesses) {
  clearTimeout(reading);
  reading = setTimeout(() => {
    spoken.textContent = guesses
      .map((guess) => `${guess.model}: ${guess.class}, ${percent(guess.probability)}`)
      .join("; ");
  }, PAUSE);
}

function copy(picture, width, height) {
  const canvas = new OffscreenCanvas(Math.ceil(width), Math.ceil(height));
  canvas.getContext("2d").drawImage(picture, 0, 0, width, height);
  return canvas.convertToBlob();
}

// Ask about what `image` gives when its turn comes.
async function ask(image) {
  waiting = image;
  list.setAttribute("aria-busy", "true");
  if (isAsking) return;
  isAsking = true;
  while (waiting) {
    const next = waiting;
    waiting = null;
    await answer(await next(), subject);
  }
  isAsking = false;
  list.setAttribute("aria-busy", "false");
}

async function answer(blob, asked) {
  try {
    const headers = { "Content-Type": blob.type };
    const address = `/classify?of=${asked}`;
    const response = await fetch(address, { method: "POST", body: blob, headers });
    const { guesses, seen, error } = await response.json();
    if (isBlank || asked !== subject) return;
    if (error) {
      message.textContent = error;
      return;
    }
    message.textContent = "";
    guesses.forEach((guess, index) => show(guess, cards[index]));
    judge(guesses);
    showSeen(seen);
    speakOfGuesses(guesses);
  } catch (error) {
    message.textContent = `The server does not answer: ${error.message}`;
  }
}

function clear() {
  ink.fillStyle = "#fff";
  ink.fillRect(0, 0, paper.width, paper.height);
  isBlank = true;
  byId("invitation").hidden = false;
  waiting = null;
  pen.down = false;
  strokes.clear();
  showNothing();
  message.textContent = "";
  speak("");
}

function begin() {
  isBlank = false;
  byId("invitation").hidden = true;
}

function draw(from, to) {
  if (isBlank) clear();
  begin();
  ink.strokeStyle = "#000";
  ink.lineWidth = PEN;
  ink.lineCap = "round";
  ink.beginPath();
  ink.moveTo(from.x, from.y);
  ink.lineTo(to.x + 0.1, to.y); // a line of no length would not be drawn
  ink.stroke();
  ask(() => copy(paper, SENT, SENT));
}

function place(event) {
  const box = paper.getBoundingClientRect();
  return {
    x: ((event.clientX - box.left) / box.width) * paper.width,
    y: ((event.clientY - box.top) / box.height) * paper.height,
  };
}

paper.addEventListener("pointerdown", (event) => {
  if (event.button !== 0 || subject !== "drawings") return;
  paper.setPointerCapture(event.pointerId);
  const point = place(event);
  draw(point, point);
  strokes.set(event.pointerId, point);
});

paper.addEventListener("pointermove", (event) => {
  for (const each of event.getCoalescedEvents?.() ?? [event]) {
    const before = strokes.get(event.pointerId);
    if (!before) return;
    const point = place(each);
    draw(before, point);
    strokes.set(event.pointerId, point);
  }
});

for (const kind of ["pointerup", "pointercancel"]) {
  paper.addEventListener(kind, (event) => strokes.delete(event.pointerId));
}

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

paper.addEventListener("keydown", (event) => {
  if (subject !== "drawings") return;
  if (event.key === " ") {
    pen.down = !pen.down;
    speak(pen.down ? "Pen down" : "Pen up");
    if (pen.down) {
      draw(pen, pen);
      pen.down = true;
    }
  } else if (event.key === "Escape") {
    clear();
  } else if (event.key in ARROWS) {
    const [right, down] = ARROWS[event.key];
    const inside = (value) => Math.min(Math.max(value, PEN / 2), paper.width - PEN / 2);
    const next = { ...pen, x: inside(pen.x + right * STEP), y: inside(pen.y + down * STEP) };
    if (pen.down) draw(pen, next);
    else speak(`Pen at ${Math.round((100 * next.x) / paper.width)} % from the left, ` +
      `${Math.round((100 * next.y) / paper.height)} % from the top`);
    pen = next;
  } else {
    return;
  }
  event.preventDefault();
});

async function take(file) {
  clear();
  begin();
  const isTaken = TYPES.includes(file.type) && file.size <= MAXIMUM_BYTES;
  if (isTaken) ask(() => file);
  try {
    const picture = await createImageBitmap(file);
    const scale = Math.min(paper.width / picture.width, paper.height / picture.height);
    const [width, height] = [picture.width * scale, picture.height * scale];
    ink.drawImage(picture, (paper.width - width) / 2, (paper.height - height) / 2, width, height);
    if (!isTaken) ask(() => copy(picture, width, height));
  } catch {
    if (!isTaken) message.textContent = `${file.name} is no image that can be read.`;
  }
}

byId("file").addEventListener("change", (event) => {
  const [file] = event.target.files;
  if (file) take(file);
  event.target.value = "";
});

addEventListener("dragover", (event) => {
  event.preventDefault();
  paper.classList.add("over");
});
addEventListener("dragleave", () => paper.classList.remove("over"));
addEventListener("drop", (event) => {
  event.preventDefault();
  paper.classList.remove("over");
  const [file] = event.dataTransfer.files;
  if (file) take(file);
});

byId("clear").addEventListener("click", clear);

function turnTo(chosen) {
  subject = chosen;
  const { title, invitation, role, label } = SUBJECTS[subject];
  document.body.className = subject;
  byId("shown-title").textContent = title;
  byId("invitation").textContent = invitation;
  byId("keys").hidden = subject !== "drawings";
  paper.setAttribute("role", role);
  paper.setAttribute("aria-label", label);
  if (subject === "drawings") paper.setAttribute("aria-describedby", "keys");
  else paper.removeAttribute("aria-describedby");
  paper.tabIndex = subject === "drawings" ? 0 : -1;
  for (const tab of tabs) {
    tab.setAttribute("aria-selected", tab.id === subject);
    tab.tabIndex = tab.id === subject ? 0 : -1;
  }
  list.replaceChildren();
  cards = [];
  const own = models.filter((model) => model.of === subject);
  for (const title of new Set(own.map((model) => model.group))) {
    addGroup(title, own.filter((model) => model.group === title));
  }
  clear();
}

for (const tab of tabs) {
  tab.addEventListener("click", () => turnTo(tab.id));
  tab.addEventListener("keydown", (event) => {
    if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
    const other = tabs.find((each) => each !== tab);
    turnTo(other.id);
    other.focus();
  });
}

const { models } = await (await fetch("/models")).json();
byId("tabs").hidden = new Set(models.map((model) => model.of)).size < 2;
turnTo(models[0].of);

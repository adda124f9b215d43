/** The elements of an array that is a member of the outermost object, each as the text that stands there. */
export function rawElements(json: string, member: string): readonly string[] {
  const elements: string[] = [];
  let depth = 0;
  let name = '';
  let start = -1;
  let inArray = false;
  for (let at = 0; at < json.length; at += 1) {
    const character = json[at];
    if (character === '"') {
      const end = endOfString(json, at);
      if (depth === 1) name = /^\s*:/.test(json.slice(end)) ? (JSON.parse(json.slice(at, end)) as string) : name;
      else if (inArray && depth === 2 && start < 0) start = at;
      at = end - 1;
    } else if (character === '[' || character === '{') {
      if (inArray && depth === 2 && start < 0) start = at;
      depth += 1;
      if (depth === 2 && character === '[' && name === member) inArray = true;
    } else if (character === ']' || character === '}' || character === ',') {
      if (inArray && depth === 2 && start >= 0) {
        elements.push(json.slice(start, at).trimEnd());
        start = -1;
      }
      if (character === ',') continue;
      depth -= 1;
      if (depth === 1) inArray = false;
    } else if (inArray && depth === 2 && start < 0 && character?.trim() !== '') start = at;
  }
  return elements;
}

/** The place behind the quote that ends the string that begins here. */
function endOfString(json: string, start: number): number {
  for (let at = start + 1; at < json.length; at += 1) {
    if (json[at] === '\\') at += 1;
    else if (json[at] === '"') return at + 1;
  }
  return json.length;
}

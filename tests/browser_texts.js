// Texts of a page that are too small, or too pale on what is behind them.
() => {
  const found = [];
  const channels = (colour) => (colour.match(/[\d.]+/g) ?? []).map(Number);
  const light = (value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
  const luminance = ([red, green, blue]) => 0.2126 * light(red / 255) + 0.7152 * light(green / 255) + 0.0722 * light(blue / 255);
  const background = (element) => {
    for (; element; element = element.parentElement) {
      const colour = channels(getComputedStyle(element).backgroundColor);
      if (colour[3] !== 0) return colour;
    }
    return [255, 255, 255];
  };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    const text = texts.currentNode.textContent.trim();
    if (!text || !element.checkVisibility({ opacityProperty: true })) continue;
    const style = getComputedStyle(element);
    if (parseFloat(style.fontSize) < 12) found.push(`${style.fontSize} is too small: ${text}`);
    const [low, high] = [luminance(channels(style.color)), luminance(background(element))].sort((a, b) => a - b);
    const contrast = (high + 0.05) / (low + 0.05); // WCAG 2: 4.5 and more is readable
    if (contrast < 4.5) found.push(`contrast ${contrast.toFixed(1)} is too low: ${text}`);
  }
  return found;
}

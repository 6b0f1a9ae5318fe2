import type { Page } from 'playwright-core'

/**
 * The texts on the page whose contrast with what is behind them is below 4.5 (WCAG 2.2, 1.4.3), and how much they have.
 * Computed from the colours that the browser has worked out; there are no pictures behind text here.
 */
export function faintTexts(page: Page): Promise<string[]> {
  return page.evaluate(() => {
    // Through a pixel, because a colour may be written in many ways.
    const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true })
    if (!canvas) throw new Error('There is no canvas to measure colours with.')
    const rgba = (colour: string) => {
      canvas.clearRect(0, 0, 1, 1)
      canvas.fillStyle = colour
      canvas.fillRect(0, 0, 1, 1)
      return [...canvas.getImageData(0, 0, 1, 1).data]
    }
    const luminance = (colour: number[]) => {
      const [red = 0, green = 0, blue = 0] = colour.slice(0, 3).map((channel) => {
        const share = channel / 255
        return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4
      })
      return 0.2126 * red + 0.7152 * green + 0.0722 * blue
    }
    const ground = (element: Element | null): number[] => {
      if (!element) return [255, 255, 255, 255]
      const own = rgba(getComputedStyle(element).backgroundColor)
      return own[3] === 255 ? own : ground(element.parentElement)
    }
    const faint: string[] = []
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
    for (let text = texts.nextNode(); text; text = texts.nextNode()) {
      const element = text.parentElement
      if (!element?.checkVisibility() || !text.textContent?.trim()) continue
      if (['SCRIPT', 'STYLE', 'NOSCRIPT'].includes(element.tagName)) continue
      const lights = [rgba(getComputedStyle(element).color), ground(element)].map(luminance)
      const contrast = (Math.max(...lights) + 0.05) / (Math.min(...lights) + 0.05)
      if (contrast < 4.5) faint.push(`${contrast.toFixed(2)}: ${text.textContent.trim()}`)
    }
    return faint
  })
}

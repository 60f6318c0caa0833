// The page. Adding, uploading and listing files are separate modules.

import { acceptFiles } from './adding.js'
import { closePreview } from './preview.js'
import { keepThroughReloads } from './queue.js'
import { noteUploaded, showStored } from './stored.js'
import { showUploads } from './uploads.js'

const RELOAD = 1000 // milliseconds between two requests for the list

document.documentElement.classList.add('scripted')

acceptFiles()
closePreview()
showUploads(gather(noteUploaded))
showStored()
keepThroughReloads()

// Return a function that passes its arguments on at once, but not more often than once a second.
function gather(act) {
  let gathered = []
  let timer = 0
  const pass = () => {
    timer = gathered.length > 0 ? setTimeout(pass, RELOAD) : 0
    if (timer) act(...gathered.splice(0))
  }
  return (value) => {
    gathered.push(value)
    if (!timer) pass()
  }
}
